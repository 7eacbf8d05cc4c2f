"""What `make bench` measures: always ratios against a peer of the same run, never bare times."""
