"""A page in the browser that shows the local stack at work: what was asked, what Plivo received."""
