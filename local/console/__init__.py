"""A web page that shows what happens in the local stack: requests, and what Plivo received."""
