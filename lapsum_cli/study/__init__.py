"""What a run would cost, measured: benchmarks beside other libraries, and the reports made of them."""
