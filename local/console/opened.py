"""`make console`: open the console of the stack that `make up` started in a browser."""

import json
import sys
import webbrowser

from local.build import DESCRIPTION


def main() -> int:
    try:
        url = json.loads(DESCRIPTION.read_text())["console_url"]
    except FileNotFoundError:
        sys.stderr.write("no stack is running; start one with: make up\n")
        return 1
    print(f"The console is at {url}")
    webbrowser.open(url)
    return 0
