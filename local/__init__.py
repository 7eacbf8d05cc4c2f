"""The local stack: an AWS emulator, a Plivo simulator and a trace sink, on loopback only."""
