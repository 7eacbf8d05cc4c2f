"""What `make load` runs: mixed traffic with an audit, and many invocations of one worker."""
