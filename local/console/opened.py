"""`make console`: open the console of the stack that `make up` started in a browser."""

import webbrowser

from local import running


def main() -> int:
    url = running.description()["console_url"]
    print(f"The console is at {url}")
    webbrowser.open(url)
    return 0
