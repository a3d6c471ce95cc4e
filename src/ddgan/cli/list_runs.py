"""`ddgan list`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from ddgan.cli.options import Parser
from ddgan.reports.run_list import differing, find_runs, listed, table_lines

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Print a table of runs, or their JSON."""
    parser = Parser(
        "list",
        "List runs: where each stands, its iterations, images, age and score, and the settings in which they "
        "differ. A run is training, finished, stopped (ddgan train --resume goes on), failed or damaged.",
    )
    parser.add_argument(
        "folders",
        nargs="*",
        default=["."],
        metavar="FOLDER",
        help="runs, or folders with runs in them or one level below (default: the current folder)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with all settings that differ")
    options = parser.parse_args(arguments)
    paths = [path for folder in options.folders for path in find_runs(Path(folder))]
    runs = [listed(path) for path in dict.fromkeys(paths)]
    if options.json:
        names = differing(runs)
        print(json.dumps([one.to_dict(names) for one in runs], indent=2))
    elif runs:
        for line in table_lines(runs, shutil.get_terminal_size((100, 24)).columns):
            print(line)
    else:
        print(f"no runs in {' and '.join(options.folders)}", file=sys.stderr)
    return 0
