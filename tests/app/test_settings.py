"""Settings: defaults as documented, faults that name the place and the way out, and never anything but a fault."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.app.settings import Settings, agent_at_work, flags, limits_of, load, parse, with_flags
from luminaguard.app.settings_tables import (
    TABLES,
    AgentProtocol,
    AgentSettings,
    Approval,
    BacklogSource,
    LandingStyle,
    ReportSettings,
)
from luminaguard.app.settings_toml import MAX_BYTES, lines_of_keys
from luminaguard.host.limits import Limits
from luminaguard.model.faults import UserFault
from luminaguard.model.isolation import Isolation
from luminaguard.model.work import Severity

INTERFACE = """\
[backlog]
source = "local"
path = "issues"
write_back = false

[run]
slots = 4
isolation = "auto"
agent = "claude"

[agents.claude]
protocol = "acp"
argv = ["claude-agent-acp"]

[agents.mine]
protocol = "command"
argv = ["python3", "tools/agent.py"]

[checks]
run = ["make test"]
timeout_s = 1800

[review]
agent = "claude"
block_at = "high"

[landing]
target = "main"
style = "squash"
approve = "auto"

[budget]
usd_per_issue = 5.0
minutes_per_issue = 60
"""


def test_the_file_of_the_interface_is_read() -> None:
    read = parse(INTERFACE, path="luminaguard.toml")
    assert read.agents["mine"] == AgentSettings(protocol=AgentProtocol.COMMAND, argv=("python3", "tools/agent.py"))
    assert (read.run.agent, read.review.agent, read.checks.run) == ("claude", "claude", ("make test",))
    assert (read.landing.target, read.run.isolation) == ("main", None)


def test_an_empty_file_gives_the_documented_defaults() -> None:
    read = parse("", path="luminaguard.toml")
    assert read == dataclasses.replace(Settings(), path="luminaguard.toml")
    assert (read.backlog.source, read.backlog.path, read.backlog.write_back) == (BacklogSource.LOCAL, "issues", False)
    assert (read.run.slots, read.run.isolation, read.run.agent, read.run.attempts) == (4, None, None, 3)
    assert (read.checks.run, read.checks.timeout_s) == (None, 1800.0)
    assert (read.review.agent, read.review.block_at) == (None, Severity.HIGH)
    assert (read.landing.target, read.landing.style, read.landing.approve) == (None, LandingStyle.SQUASH, Approval.AUTO)
    assert (read.budget.usd_per_issue, read.budget.minutes_per_issue) == (5.0, 60.0)
    assert (read.trust.authors, read.trust.associations) == ((), ("owner", "member", "collaborator"))


def test_limits_are_those_of_the_sandboxes_unless_set() -> None:
    assert limits_of(parse("", path="f")) == Limits()
    assert limits_of(parse("limits.memory_mib = 64", path="f")).memory_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[run]\n\nslot = 4", 'f:3: [run] has no key "slot" (= 4)', "did you mean slots?"),
        ("[rnu]\nslots = 4", 'f:1: there is no table or key "rnu" (= a table)', "did you mean run?"),
        ("slots = 4", 'f:1: there is no table or key "slots" (= 4)', "Known here: backlog, run"),
        ("run = 4", "f:1: run must be a table, got 4", "write [run]"),
        ("[[run]]\nslots = 4", "f:1: run must be a table, got [", "write [run]"),
        ("agents.a = 1", "f:1: agents.a must be a table, got 1", "[agents.a]"),
        ("[run]\nslots = '4'", 'f:2: [run] slots must be a whole number from 1 to 1000, got "4"', ""),
        ("[run]\nslots = true", "f:2: [run] slots must be a whole number from 1 to 1000, got true", ""),
        ("run.slots = 0", "f:1: [run] slots must be a whole number from 1 to 1000, got 0", ""),
        ("run.slots = 2.0", "got 2.0", ""),
        ('run = {"slots" = -1}', "f:1: [run] slots must be", ""),
        (
            "[checks]\nrun = [\n 'a',\n 3]\n",
            'f:2: [checks] run must be a list of commands: ["make test"], got ["a", 3]',
            "",
        ),
        ("checks.run = 'make'", "f:1: [checks] run must be a list of commands", ""),
        ("checks.run = ['']", 'got [""]', ""),
        ("checks.timeout_s = 0", "f:1: [checks] timeout_s must be a number above 0, at most 604800, got 0", ""),
        ("checks.timeout_s = nan", "got nan", ""),
        ("checks.timeout_s = inf", "got inf", ""),
        (f"checks.timeout_s = 0x{'f' * 5000}", "got a number of 20000 bits", ""),
        ("budget.usd_per_issue = -1", "must be a number of at least 0, at most 1e+06, got -1", ""),
        ("budget.minutes_per_issue = false", "got false", ""),
        (
            "run.isolation = 'namspace'",
            'f:1: [run] isolation must be "auto", "vm", "namespace" or "none", got "namspace"',
            'did you mean "namespace"?',
        ),
        (
            "review.block_at = 'HIGH'",
            'must be "low", "medium", "high" or "critical", got "HIGH"',
            'did you mean "high"?',
        ),
        ("landing.style = ['squash']", 'got ["squash"]', ""),
        ("landing.target = '--force'", "must be a branch name", ""),
        (
            "run.agent = 'cluade'\n[agents.claude]\nprotocol='acp'\nargv=['x']",
            '"cluade", which is not in [agents]',
            "did you mean claude?",
        ),
        (
            "[review]\nagent = 'me'",
            'f:2: [review] agent names "me", which is not in [agents]',
            "write a table [agents.me]",
        ),
        ("[agents.a]\nargv = ['x']", "f:1: [agents.a] has no protocol", 'protocol = "command"'),
        ("[agents.a]\nprotocol = 'command'", 'f:1: [agents.a] has no argv, which protocol = "command" needs', ""),
        ("[agents.a]\nprotocol = 'acp'\nargv = []", "f:3: [agents.a] argv must be a list of words", ""),
        ("[agents.a]\nprotocol = 'replay'", 'has no script, which protocol = "replay" needs', ""),
        (
            "[agents.a]\nprotocol = 'replay'\nscript='s'\nargv=['x']",
            'f:4: [agents.a] argv = ["x"] means nothing',
            "take it out",
        ),
        (
            "[agents.a]\nprotocol = 'command'\nargv = ['x']\nenv_pass = ['A=1']",
            "f:4: [agents.a] env_pass must be a list of names",
            "",
        ),
        ("[agents.a]\nprotocol = 'builtin'", "f:1: [agents.a] needs a provider and a model", "provider ="),
        (
            "[agents.a]\nprotocol = 'claude'\nprovider = 'antropic'",
            'f:1: [agents.a] provider names "antropic", which is not in [providers]',
            "did you mean anthropic?",
        ),
        ("[providers.mine]\nbase_url = 'http://127.0.0.1:1'", "f:1: [providers.mine] has no api", "openai"),
        ("[agents.a]\nprotocol = 'claude'\nask = 'deny'", 'f:3: [agents.a] ask = "deny" means nothing', "take it out"),
        ("[agents.'a b']\nprotocol = 'claude'", 'f:1: "a b" cannot be the name of an agent', "letters"),
        ("a = ", "f:1: is not TOML: Invalid value", "toml.io"),
        ("[run]\nslots = 1\nslots = 2", "f:3: is not TOML: Cannot overwrite a value", "toml.io"),
        ('[run]\nslots = "\n', "f:2: is not TOML", "toml.io"),
        (f"a = {'9' * 5000}", "f: is not TOML: Exceeds the limit", "toml.io"),
        (f"a = {'[' * 20000}", "f: is nested too deeply", ""),
        ("\ufeff[run]", "f:1: begins with a byte order mark", "UTF-8"),
        ("#" * (MAX_BYTES + 1), "f: has 262145 characters", "right file"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_the_way_out(text: str, message: str, hint: str) -> None:
    raised = fault_at_f(text)
    assert message in raised.message
    assert hint in raised.hint


def fault_at_f(text: str) -> UserFault:
    with pytest.raises(UserFault) as raised:
        parse(text, path="f")
    return raised.value


def test_every_key_is_found_on_its_line() -> None:
    text = (
        '# c\na.b = 1\n"q.x" = """\n[no]\n"""\n[ "h h" . k ] # [x]\n'
        'l = [ "]", {m = 1},\n {n = {o = 2}}]\nt = 07:32:00\nz = 1.5'
    )
    assert lines_of_keys(text) == {
        ("a",): 2,
        ("a", "b"): 2,
        ("q.x",): 3,
        ("h h",): 6,
        ("h h", "k"): 6,
        ("h h", "k", "l"): 7,
        ("h h", "k", "l", "m"): 7,
        ("h h", "k", "l", "n"): 8,
        ("h h", "k", "l", "n", "o"): 8,
        ("h h", "k", "t"): 9,
        ("h h", "k", "z"): 10,
    }


def test_no_file_gives_defaults_and_says_so(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings()
    assert load(tmp_path).path is None


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").write_text("[run]\r\nslots = 2\r\n", newline="")
    assert load(tmp_path).run.slots == 2
    assert load(tmp_path).path == str(tmp_path / "luminaguard.toml")


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").write_bytes(b"[run]\n# M\xfcller\n")
    with pytest.raises(UserFault, match=r"luminaguard\.toml:2: is not UTF-8: byte 0xfc"):
        load(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").mkdir()
    with pytest.raises(UserFault, match="is not a file"):
        load(tmp_path)


def test_a_link_to_nothing_is_not_taken_for_no_file(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").symlink_to("gone")
    with pytest.raises(UserFault, match="is not a file"):
        load(tmp_path)


def test_a_file_that_is_no_settings_file_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UserFault, match="has more than"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[backlog]\nsource = 'github'\n\napp_id = '12345'",
            "f:4: [backlog] app_id needs app_key beside it",
            'app_key = "~/keys/app.pem"',
        ),
        (
            "[backlog]\napp_key = 'app.pem'\nsource = 'github'",
            "f:2: [backlog] app_key needs app_id beside it",
            'app_id = "12345"',
        ),
        (
            "[backlog]\nsource = 'gitlab'\napp_id = '1'\napp_key = 'k'",
            'f:3: [backlog] app_id = "1" means nothing with source = "gitlab"',
            'source = "github"',
        ),
        ("backlog.app_id = 12345", 'must be the id of a GitHub App, as text: "12345", got 12345', ""),
        ("backlog.assignee = 'ann'", 'f:1: [backlog] assignee = "ann": issues of source = "local" have', "labels"),
        ("backlog = {source = 'file', assignee = 'ann'}", 'issues of source = "file" have no assignees', "take it out"),
        (
            "[backlog]\nsource = 'github'\n[report]\nissue = '12'\ncategory = 'General'",
            "f:5: [report] category and issue are both set",
            "take one of them out",
        ),
        (
            "[backlog]\nsource = 'gitea'\n[report]\ncategory = 'General'",
            'f:4: [report] category = "General": there are no discussions with source = "gitea"',
            'issue = "12"',
        ),
        ("[report]\npost = true", "f:2: [report] post = true, and no place is named", 'write issue = "12"'),
        (
            "backlog.source = 'github'\nreport.post = true",
            "f:2: [report] post = true, and no place is named",
            'category = "General"',
        ),
        ("report.issue = 12", 'f:1: [report] issue must be the id of an issue, as text: "12", got 12', ""),
    ],
)
def test_keys_that_cannot_hold_together_are_named_with_their_line(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserFault) as raised:
        parse(text, path="f")
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_an_app_and_a_place_for_reports_are_read() -> None:
    read = parse(
        "[backlog]\nsource = 'github'\napp_id = '12345'\napp_key = '~/app.pem'\n[report]\npost = true\nissue = '#12'",
        path="f",
    )
    assert (read.backlog.app_id, read.backlog.app_key) == ("12345", "~/app.pem")
    assert read.report == ReportSettings(post=True, issue="#12")


def test_every_key_of_the_three_tables_has_a_flag() -> None:
    keys = [field.name for table in ("run", "landing", "budget") for field in dataclasses.fields(TABLES[table])]
    assert [flag.name for flag in flags()] == keys
    assert {"--slots", "--isolation", "--minutes-per-issue", "--usd-per-issue"} <= {flag.option for flag in flags()}


def test_a_flag_wins_over_the_file() -> None:
    read = parse(INTERFACE, path="f")
    typed = {
        "slots": "8",
        "isolation": "vm",
        "agent": "mine",
        "target": "next",
        "usd_per_issue": "0.5",
        "minutes_per_issue": "10",
    }
    changed = with_flags(read, typed)
    assert (changed.run.slots, changed.run.isolation, changed.run.agent) == (8, Isolation.VM, "mine")
    assert (changed.landing.target, changed.landing.style) == ("next", LandingStyle.SQUASH)
    assert changed.budget == dataclasses.replace(read.budget, usd_per_issue=0.5, minutes_per_issue=10.0)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("slots", "many", '--slots must be a whole number from 1 to 1000, got "many"'),
        ("slots", "0", "--slots must be a whole number from 1 to 1000, got 0"),
        ("minutes_per_issue", "nan", '--minutes-per-issue must be a number above 0, at most 100000, got "nan"'),
        ("approve", "humen", '--approve must be "auto" or "human", got "humen"'),
        ("agent", "mien", '--agent names "mien", which is not in [agents]'),
    ],
)
def test_a_wrong_flag_is_named_as_it_was_typed(name: str, words: str, message: str) -> None:
    with pytest.raises(UserFault) as raised:
        with_flags(parse(INTERFACE, path="f"), {name: words})
    assert raised.value.message == message


def test_the_only_agent_works_without_being_chosen() -> None:
    one = parse('[agents.mine]\nprotocol = "claude"', path="f")
    assert agent_at_work(one) == "mine"


def test_two_agents_want_a_choice() -> None:
    two = parse('[agents.a]\nprotocol = "claude"\n[agents.b]\nprotocol = "claude"', path="f")
    with pytest.raises(UserFault, match="has 2 agents and none is chosen"):
        agent_at_work(two)


def test_no_agent_is_a_fault_with_a_way_out() -> None:
    with pytest.raises(UserFault, match="there is no agent") as raised:
        agent_at_work(Settings())
    assert "luminaguard init" in raised.value.hint


_names = st.sampled_from(["run", "slots", "agents", "mine", "checks", "argv", "protocol", "limits", "x y", "ü", ""])
_scalars = st.one_of(
    st.integers(), st.booleans(), st.floats(), st.text(max_size=8), st.dates(), st.times(), st.datetimes()
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=8,
)


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_toml(key)} = {as_toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_settings_or_a_fault_that_names_the_file(text: str) -> bool:
    """Anything else that is raised fails the test."""
    try:
        return isinstance(parse(text, path="some/luminaguard.toml"), Settings)
    except UserFault as fault:
        return fault.message.startswith("some/luminaguard.toml") and "\n" not in fault.message


@given(st.dictionaries(_names, _values, max_size=4))
def test_any_toml_is_settings_or_a_fault(tree: dict[str, object]) -> None:
    text = "\n".join(f"{as_toml(key)} = {as_toml(value)}" for key, value in tree.items())
    assert is_settings_or_a_fault_that_names_the_file(text)


@given(st.data())
def test_a_mutilated_file_is_settings_or_a_fault(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(INTERFACE)))
    end = data.draw(st.integers(start, min(len(INTERFACE), start + 40)))
    put = data.draw(st.one_of(st.text(max_size=6), st.text("[]{}=\"'.,#\n0_-\\", max_size=6)))
    assert is_settings_or_a_fault_that_names_the_file(INTERFACE[:start] + put + INTERFACE[end:])


@given(
    st.sampled_from([(table, field) for table, made_as in TABLES.items() for field in dataclasses.fields(made_as)]),
    _values,
)
def test_any_value_of_any_key_is_taken_or_refused_on_its_line(
    key: tuple[str, "dataclasses.Field[object]"], value: object
) -> None:
    table, field = key
    try:
        read = parse(f"[{table}]\n{field.name} = {as_toml(value)}", path="f")
    except UserFault as fault:
        assert fault.message.startswith(f"f:2: [{table}] {field.name} ")  # noqa: PT017 most values are refused, some are not
    else:
        assert type(getattr(getattr(read, table), field.name)) is not dict


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_fault(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "luminaguard.toml").write_bytes(content)
    try:
        load(folder)
    except UserFault as fault:
        assert fault.message.startswith(str(folder / "luminaguard.toml"))  # noqa: PT017 some bytes are settings


@pytest.mark.parametrize("table", ["backlog", "providers.mine"])
@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("http://[::1", "a port is a number"),
        ("https://git.test:99999", "up to 65535"),
        ("https://git.test:word/x", "up to 65535"),
        ("https://a..b", "https://git.example.org"),
        (f"https://{'h' * 70}.test", "https://git.example.org"),
        ("https://:8443/x", "https://git.example.org"),
        ("https://git.test/x?y=z", "what begins with ?"),
        ("https://git.test/#z", "what begins with ?"),
        ("https://git.test/\\u0007", "https://git.example.org"),
    ],
)
def test_an_address_that_no_server_can_have_is_told_with_its_line(table: str, said: str, way_out: str) -> None:
    with pytest.raises(UserFault, match=rf"f:2: \[{table}\] base_url must be an address") as raised:
        parse(f'[{table}]\nbase_url = "{said}"\napi = "openai"' if "." in table else _base_url(said), path="f")
    assert way_out in raised.value.hint
    assert said[:50] in raised.value.message


def _base_url(said: str) -> str:
    return f'[backlog]\nbase_url = "{said}"'


@pytest.mark.parametrize(
    "said",
    [
        "https://user:s3cret@git.test",
        "https://s3cret@git.test/api/v3?y#z",
        "https://user:s3cret/2@git.test",
        "https://user:s3cret@x@git.test",
        "https://user:a s3cret@git.test",
        "user:s3cret@git.test",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(said: str) -> None:
    with pytest.raises(UserFault, match=r"f:2: \[backlog\] base_url must be .*@git\.test") as raised:
        parse(_base_url(said), path="f")
    assert "s3cret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    "said",
    [
        *("https://git.test", "https://git.test:8443/api/v3/", "http://127.0.0.1:3000", "http://[::1]:3000/x"),
        *("https://my_host", "https://bücher.example", "https://git.test."),
    ],
)
def test_an_address_of_a_server_is_taken_as_it_is_written(said: str) -> None:
    assert parse(_base_url(said), path="f").backlog.base_url == said
