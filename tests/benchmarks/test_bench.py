"""The benchmark's own code: ratios, verdicts, round trips, archives, documents."""

import compileall
import importlib.util
import io
import os
import py_compile
import ssl
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import trustme
import urllib3

from benchmarks import report
from benchmarks.artifact import SAM_DATE, Artifact, remove
from benchmarks.process import ProgramFailed, Worker, cpu_ms, fresh, python
from benchmarks.row import Row, Table, interleaved
from benchmarks.servers import Exchange, Reply, TlsServer, waits_in_a_row
from local.build import ROOT
from tests.support.serving import serving
from tools import markers

# --- rows --------------------------------------------------------------------------------------


def test_a_ratio_is_formed_in_each_run_after_subtracting_the_floor() -> None:
    assert Row.ratio("", "", [30, 50], [50, 90], floor=[10, 10]).values == [0.5, 0.5]
    assert Row.ratio("", "", [30, 50], [60, 25]).values == [0.5, 2.0]


def test_the_median_of_a_ratio_is_that_of_the_medians() -> None:
    scattered = Row.ratio("", "", [30, 30, 90], [10, 60, 60], floor=[0, 5, 5])

    assert scattered.median == pytest.approx((30 - 5) / (60 - 5))
    assert Row("", values=scattered.values).median == pytest.approx(85 / 55)


def test_ratios_of_different_numbers_of_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Row.ratio("", "", [1, 2], [1])


def test_a_target_is_met_if_the_median_does_not_exceed_it() -> None:
    assert Row("what", values=[9, 1, 0.5], target=1).met
    assert not Row("what", values=[0.5, 1.01, 9], target=1).met


def test_a_row_without_a_target_or_a_value_is_neither_met_nor_missed() -> None:
    assert Row("what", values=[1]).met is None
    assert Row("what", target=1, missing="no peer").met is None


@pytest.mark.parametrize(
    ("row", "regressed"),
    [
        (Row("what", values=[2], target=1, limit=2), False),
        (Row("what", values=[2.1], target=1, limit=2), True),
        (Row("what", values=[2.1], target=1), False),
        (Row("what", target=1, limit=2, missing="no build"), True),
    ],
)
def test_a_value_above_the_limit_is_a_regression_and_so_is_a_missing_one(
    row: Row,
    regressed: bool,  # noqa: FBT001  a parameter of the case
) -> None:
    assert row.regressed is regressed


def test_measurements_alternate_and_the_first_of_each_is_discarded() -> None:
    order: list[str] = []

    def measure(name: str) -> Callable[[], float]:
        def take() -> float:
            order.append(name)
            return float(len(order))

        return take

    values = interleaved({"a": measure("a"), "b": measure("b")}, runs=20)

    taken = [*zip(order[::2], order[1::2], strict=True)]
    assert set(taken) == {("a", "b"), ("b", "a")}
    assert {name: len(found) for name, found in values.items()} == {"a": 20, "b": 20}
    assert min(*values["a"], *values["b"]) == 3


def test_the_value_of_a_run_is_the_mean_of_its_turns() -> None:
    given = {"a": iter([100.0, 100.0, 1.0, 3.0]), "b": iter([100.0, 100.0, 2.0, 6.0])}
    measures = {name: partial(next, values) for name, values in given.items()}

    assert interleaved(measures, 1, turns=2) == {"a": [2], "b": [4]}


# --- round trips, as a server counts them ------------------------------------------------------


def test_simultaneous_exchanges_count_as_one_wait() -> None:
    one, beside_it, after = (
        Exchange("a", 0, 10, 0),
        Exchange("b", 2, 5, 0),
        Exchange("c", 10, 11, 0),
    )
    assert waits_in_a_row([after, one, beside_it]) == 2
    assert waits_in_a_row([]) == 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[TlsServer, urllib3.PoolManager]]:
    """A server that answers 201 with the request's body, and a client that trusts it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    roots = tmp_path / "roots.pem"
    ca.cert_pem.write_to_path(str(roots))

    def answer(_path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return Reply(201, {"X-Seen": headers["X-Amz-Target"]}, body)

    with serving(TlsServer(context, answer)) as made:
        pool = urllib3.PoolManager(ca_certs=str(roots), maxsize=2)
        yield made, pool
        pool.clear()


def test_the_server_counts_handshakes_and_exchanges(
    server: tuple[TlsServer, urllib3.PoolManager],
) -> None:
    tls_server, pool = server
    headers = {"X-Amz-Target": "DynamoDB_20120810.PutItem"}
    for _ in range(3):
        reply = pool.request("POST", tls_server.url, body=b"12345", headers=headers, retries=False)
        assert (reply.status, reply.data) == (201, b"12345")
        assert reply.headers["X-Seen"] == "DynamoDB_20120810.PutItem"
    pool.request(
        "POST", tls_server.url, body=b"", headers=headers | {"Connection": "close"}, retries=False
    )
    pool.request("POST", tls_server.url, body=b"", headers=headers, retries=False)

    assert tls_server.handshakes == 2
    assert [each.operation for each in tls_server.exchanges] == ["PutItem"] * 5
    assert [each.size for each in tls_server.exchanges] == [10, 10, 10, 0, 0]
    assert waits_in_a_row(tls_server.exchanges) == 5


# --- processes ---------------------------------------------------------------------------------

BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"


def test_the_cpu_time_of_a_process_is_not_its_wall_clock_time() -> None:
    asleep = cpu_ms(python("-c", "import time; time.sleep(1)"), {})
    busy = cpu_ms(python("-c", BUSY.format(0.3)), {})

    assert busy > 300
    assert asleep < busy


def test_the_exit_of_a_fresh_program_is_not_measured() -> None:
    at_exit = f"import atexit\natexit.register(exec, {BUSY.format(0.3)!r}, {{}})"

    assert cpu_ms(fresh(at_exit), {}) + 200 < cpu_ms(python("-c", at_exit), {})


def test_a_program_that_fails_gives_no_figure() -> None:
    with pytest.raises(ProgramFailed, match="no such thing"):
        cpu_ms(python("-c", "raise SystemExit('no such thing')"), {})


def test_measured_programs_see_the_artifact_and_not_this_environment() -> None:
    with pytest.raises(ProgramFailed, match="No module named 'pytest'"):
        cpu_ms(python("-c", "import pytest"), {})


def worker(tmp_path: Path, action: str) -> Worker:
    program = tmp_path / "program.py"
    program.write_text(f"from benchmarks.programs import loop\n{action}\n")
    root = str(Path(report.__file__).parents[1])
    return Worker(python(str(program)), {"PYTHONPATH": root}, tmp_path / "log")


def test_a_worker_reports_the_cost_of_one_call(tmp_path: Path) -> None:
    action = f"def act():\n    {BUSY.format(0.01).replace('\n', '\n    ')}\nloop.serve(act)"
    with worker(tmp_path, action) as running:
        cost = running.run(20)

    assert 10_000 <= cost.cpu <= 100_000
    assert cost.wall >= 10_000
    assert cost.peak > 1_000 or sys.platform != "linux"


def test_output_of_a_call_does_not_disturb_the_figures(tmp_path: Path) -> None:
    with worker(tmp_path, "loop.serve(lambda: print('{\"cpu\": 0}', flush=True))") as running:
        assert running.run(3).cpu > 0


def test_a_call_that_fails_gives_no_figure(tmp_path: Path) -> None:
    with (
        worker(tmp_path, "loop.serve(lambda: 1 / 0)") as running,
        pytest.raises(ProgramFailed, match="ZeroDivisionError"),
    ):
        running.run(1)


# --- artifacts ---------------------------------------------------------------------------------


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A function and a layer, with bytecode that does not depend on dates."""
    task, layer = tmp_path / "Function", tmp_path / "Layer"
    (layer / "python").mkdir(parents=True)
    task.mkdir()
    (task / "app.py").write_text("import there\n")
    (layer / "python" / "there.py").write_text("x = 1\n" * 1000)
    for folder in (task, layer):
        compileall.compile_dir(
            folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    return Artifact(task, layer)


def caches(artifact: Artifact) -> list[Path]:
    return [path for folder in artifact.folders for path in folder.rglob("*.pyc")]


def test_a_copy_is_laid_out_as_in_lambda_dated_as_sam_does_and_not_writable(
    artifact: Artifact, tmp_path: Path
) -> None:
    copied = artifact.copy(tmp_path / "copy").read_only()

    assert copied.path == [tmp_path / "copy" / "task", tmp_path / "copy" / "opt" / "python"]
    files = [path for folder in copied.folders for path in folder.rglob("*")]
    assert len(files) == 7
    assert {path.stat().st_mtime for path in files} == {SAM_DATE}
    assert not any(path.stat().st_mode & 0o222 for path in files)
    assert caches(artifact)  # the original keeps its bytecode
    remove(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_recompiled_bytecode_is_valid_for_the_date_of_its_source(
    artifact: Artifact, tmp_path: Path
) -> None:
    compiled = artifact.copy(tmp_path / "copy").compiled()

    assert compiled.layer is not None
    source = compiled.layer / "python" / "there.py"
    header = Path(importlib.util.cache_from_source(str(source))).read_bytes()[:16]
    flags, date = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8))
    assert (flags, date) == (0, SAM_DATE)
    assert os.stat(source).st_mtime == SAM_DATE  # noqa: PTH116  as Python itself does


def test_the_size_is_that_of_the_zipped_function_and_layer(artifact: Artifact) -> None:
    expected = 0
    for folder in artifact.folders:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.rglob("*"):
                if path.is_file():
                    archive.writestr(str(path.relative_to(folder)), path.read_bytes())
        expected += len(file.getvalue())

    assert artifact.zipped_bytes() == expected


# --- reports -----------------------------------------------------------------------------------

MEASURED = Row("start-up", "a peer", [0.2, 0.25, 0.21], 0.22, shows="20 ms / 100 ms")
MISSED = Row("memory", "", [3.0], 1, unit="MB")
MISSING = Row("a POST", "a client", target=1, missing="no wheel for this machine")


def test_the_table_has_median_minimum_maximum_target_and_missing_rows() -> None:
    lines = report.markdown([MEASURED, MISSED, MISSING]).splitlines()

    assert lines[2] == "| start-up | a peer | 0.21 | 0.2 | 0.25 | ≤ 0.22 met | 20 ms / 100 ms |"
    assert lines[3] == "| memory |  | 3 | 3 | 3 | ≤ 1 NOT MET | MB |"
    assert lines[4] == "| a POST | a client | missing |  |  | ≤ 1 | no wheel for this machine |"
    assert {line.count("|") for line in lines} == {8}


def test_the_json_has_the_value_of_every_run() -> None:
    table = Table([MEASURED, MISSING], {"start-up CPU ms, webhook": [1.0, 2.0]})

    written = report.for_machines(table)

    assert written["figures"] == {"start-up CPU ms, webhook": [1.0, 2.0]}
    first, second = written["rows"]
    assert (first["median"], first["values"], first["met"]) == (0.21, [0.2, 0.25, 0.21], True)
    assert (second["missing"], second["met"]) == ("no wheel for this machine", None)
    assert "median" not in second


def test_a_new_table_replaces_the_old_one_in_a_document() -> None:
    begin = "<!-- written by make bench-docs: table -->"
    before = f"above\n{begin}\nold\n<!-- end -->\nbelow\n"

    after = markers.written(before, "make bench-docs", {"table": "| \\1 new |"})

    assert after == f"above\n{begin}\n| \\1 new |\n<!-- end -->\nbelow\n"
    assert markers.written(after, "make bench-docs", {"table": "old"}) == before
    with pytest.raises(ValueError, match="other"):
        markers.written(before, "make bench-docs", {"other": ""})


def test_a_table_is_read_back_as_it_was_written() -> None:
    rows = [["what", "median"], ["a POST", "2"], ["", "3"]]
    before = "<!-- written by make bench-docs: table -->\n<!-- end -->"

    text = markers.written(before, "make bench-docs", {"table": markers.of(rows)})

    assert markers.read(text, "make bench-docs", "table") == rows


def drawn(name: str) -> set[str | None]:
    picture = ET.parse(ROOT / "docs" / f"{name}.svg")  # noqa: S314  a file of ours
    return {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}


def test_the_pictures_in_docs_have_a_line_for_each_row_of_their_tables() -> None:
    performance, throughput = (
        markers.read((ROOT / "docs" / f"{name}.md").read_text(), program, table)[1:]
        for name, program, table in (
            ("performance", "make bench-docs", "table"),
            ("throughput", "make load", "latency"),
        )
    )
    judged = [row for row in performance if row[5].lower().endswith(" met")]

    assert {" / ".join(filter(None, row[:2])) for row in judged} <= drawn("performance")
    assert {row[0] for row in throughput} <= drawn("throughput")
    assert len(judged) > 10
