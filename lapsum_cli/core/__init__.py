"""What every room speaks: rankings, options with units, errors."""
