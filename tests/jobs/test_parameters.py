"""A parameter is read by its declared type and nothing else, or refused before a kernel starts."""

from __future__ import annotations

import datetime

import pytest

from workbench.errors import ParameterError
from workbench.jobs.parameters import declared_names, read_parameters

TAG = ["parameters"]


@pytest.fixture
def bind(notebook):
    """Declare one parameter ``x`` and give it a value."""

    def declare_and_bind(declaration: str, value: object) -> object:
        return read_parameters(notebook((declaration, TAG))).bind({"x": value})["x"]

    return declare_and_bind


@pytest.mark.parametrize(
    ("declaration", "given", "bound"),
    [
        # papermill makes 1 of the first, a float of the second and True of the third
        ('x: str = ""', "000001", "000001"),
        ('x: str = ""', "NAN", "NAN"),
        ('x: str = ""', "True", "True"),
        ('x: str = ""', "None", "None"),
        ("x: int = 1", "3", 3),
        ("x: int = 1", "-3", -3),
        ("x: int = 1", 3, 3),
        ("x: float = 1.0", "3", 3.0),
        ("x: float = 1.0", "1e-3", 0.001),
        ("x: float = 1.0", 3, 3.0),
        ("x: bool = False", "true", True),
        ("x: bool = True", "False", False),
        ('x: "date" = "2013-01-02"', "2013-03-01", "2013-03-01"),
        ('x: "datetime.date" = "2013-01-02"', datetime.date(2013, 3, 1), "2013-03-01"),
        ('x: "Decimal" = "1.10"', "0.020", "0.020"),
        ('x: "Decimal" = "1.10"', 2, "2"),
        ('x: "Path" = "a"', "b/c.csv", "b/c.csv"),
        ("x: list[str] = []", "AAPL, IBM", ["AAPL", "IBM"]),
        ("x: list[str] = []", "AAPL", ["AAPL"]),
        ("x: list[str] = []", "", []),
        ("x: list[str] = []", ["000001"], ["000001"]),
        ("x: list[int] = []", "[1, 2]", [1, 2]),
        ("x: list[int] = []", "1,2", [1, 2]),
        ("x: dict[str, float] = {}", '{"top": 2}', {"top": 2.0}),
        ('x: "dict[str, list[date]]" = {}', {"a": ["2013-01-02"]}, {"a": ["2013-01-02"]}),
        ("x: \"Literal['fast', 'slow']\" = 'fast'", "slow", "slow"),
        ('x: "Literal[1, 2]" = 1', "2", 2),
        ('x: "Optional[int]" = None', "3", 3),
        ('x: "Optional[int]" = 3', "none", None),
        ("x: int | None = 3", "", None),
        ('x: "str | None" = None', "none", "none"),
        ('x: "Annotated[int, Field(ge=1, le=9)]" = 2', "9", 9),
        ('x: "Annotated[list[float], Field(min_length=1)]" = [1.0]', "0.5,0.5", [0.5, 0.5]),
        ("from datetime import date\n\nx: date = '2013-01-02'", "2013-03-01", "2013-03-01"),
    ],
)
def test_a_value_is_read_by_the_declared_type(bind, declaration, given, bound):
    value = bind(declaration, given)
    assert value == bound
    assert type(value) is type(bound)


@pytest.mark.parametrize(
    ("declaration", "given", "words"),
    [
        ("x: int = 1", "3.5", "'3.5' is not a whole number"),
        ("x: int = 1", "1_000", "'1_000' is not a whole number"),
        ("x: int = 1", 3.0, "input should be a valid integer (got 3.0)"),
        ("x: int = 1", True, "input should be a valid integer (got True)"),
        ("x: float = 1.0", "nan", "input should be a finite number (got nan)"),
        ("x: float = 1.0", "much", "'much' is not a number"),
        ("x: bool = True", "1", "'1' is not true or false"),
        ("x: str = ''", 1, "input should be a valid string (got 1)"),
        ('x: "date" = "2013-01-02"', "2013-02-30", "'2013-02-30' is not a date such as 2013-01-02"),
        ('x: "date" = "2013-01-02"', "20130102", "'20130102' is not a date such as 2013-01-02"),
        ('x: "date" = "2013-01-02"', datetime.datetime(2013, 1, 2), "a date has no time of day"),
        ('x: "Decimal" = "1"', "1,5", "'1,5' is not a decimal number"),
        ('x: "Decimal" = "1"', "NaN", "finite"),
        ("x: list[int] = []", "1,b", "'b' is not a whole number"),
        ("x: list[int] = []", "[1, ", "is not JSON"),
        ("x: list[str] = []", ["a", 1], "[1]: input should be a valid string (got 1)"),
        ("x: dict[str, int] = {}", "a=1", "is not JSON"),
        ("x: dict[str, int] = {}", {"a": "b"}, "'b' is not a whole number"),
        ("x: \"Literal['fast', 'slow']\" = 'fast'", "quick", "input should be 'fast' or 'slow' (got 'quick')"),
        ('x: "Annotated[int, Field(ge=1)]" = 2', "0", "input should be greater than or equal to 1 (got 0)"),
        ('x: "Annotated[list[int], Field(max_length=1)]" = []', "1,2", "at most 1 item"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(bind, declaration, given, words):
    with pytest.raises(ParameterError) as caught:
        bind(declaration, given)
    text = str(caught.value)
    assert text.startswith("written.ipynb, parameter 'x'")
    assert words in text
    assert "\n" not in text


def test_values_are_completed_with_the_defaults(notebook):
    parameters = read_parameters(notebook(('top: int = 2\nasof: "date" = "2013-01-02"', TAG)))
    assert parameters.bind({"top": "3"}) == {"top": 3, "asof": "2013-01-02"}
    assert parameters.defaults == {"top": 2, "asof": "2013-01-02"}
    assert parameters.names == ("top", "asof")


def test_an_unknown_name_is_refused_with_the_nearest(notebook):
    parameters = read_parameters(notebook(("lookback: int = 126", TAG)))
    with pytest.raises(ParameterError, match=r"no parameter 'loockback'; did you mean lookback\?"):
        parameters.bind({"loockback": "3"})


def test_a_parameter_without_default_has_to_be_given(notebook):
    parameters = read_parameters(notebook(("symbol: str  # what to trade", TAG)))
    assert parameters.defaults == {}
    assert parameters.bind({"symbol": "AAPL"}) == {"symbol": "AAPL"}
    with pytest.raises(ParameterError, match="parameter 'symbol': has no default and has to be given"):
        parameters.bind({})


def test_a_notebook_without_tagged_cell_takes_no_values(fixtures):
    parameters = read_parameters(fixtures / "no_tag.ipynb")
    assert parameters.bind({}) == {}
    with pytest.raises(ParameterError, match=r"no_tag\.ipynb has no cell tagged 'parameters', but is given top"):
        parameters.bind({"top": "3"})


def test_rows_say_what_a_person_wants_to_know(notebook):
    source = '"""What can be chosen."""\ntop: int = 2  # names held\nasof: "date"  # session\n'
    source += "pair: list[int] = [\n    1,\n    2,\n]"
    rows = read_parameters(notebook((source, TAG))).describe()
    assert [(row.name, row.type, row.default, row.comment) for row in rows] == [
        ("top", "int", "2", "names held"),
        ("asof", "date", "(required)", "session"),
        ("pair", "list[int]", "[1, 2]", ""),
    ]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("a: int = 2\nb: int = a * 2", 2, "the default of 'b' is derived: a * 2; a parameters cell holds"),
        ("a: str = f'{1}'", 1, "the default of 'a' is derived"),
        ("\ntop = 2", 2, "'top = 2' has no type; write it as: name: int = 2"),
        ("a: int = 2\nprint(a)", 2, "'print(a)' is not a parameter"),
        ("for a in []:\n    pass", 1, "'for a in []:' is not a parameter"),
        ("a: int = ", 1, "not Python: invalid syntax"),
        ("a: int = 'x'", 1, "the default of 'a': input should be a valid integer (got 'x')"),
        ('a: "Annotated[int, Field(ge=1)]" = 0', 1, "the default of 'a': input should be greater than or equal to 1"),
        ('a: "date" = "soon"', 1, "the default of 'a': 'soon' is not a date such as 2013-01-02"),
        ("a: int = 1\na: int = 2", 2, "'a' is declared twice"),
        ("a: set[int] = 1", 1, "a: set[int] is not a type that a parameter may have"),
        ("a: int | str = 1", 1, "only one type or None can be told apart"),
        ("a: pd.DataFrame = 1", 1, "pd.DataFrame is not a type"),
        ("a: \"__import__('os').getcwd()\" = 1", 1, "is not a type"),
        ('a: "Annotated[int, print(1)]" = 1', 1, "bounds are written Field(ge=1)"),
        ('a: "Annotated[int, Field(ge=print(1))]" = 1', 1, "print(1) is not a literal"),
        ('a: "Annotated[int, Field(default_factory=1)]" = 1', 1, "the type can have description, ge,"),
        ('a: "Annotated[int, Field(max_length=1)]"', 1, "the type can have description, ge, gt, le, lt"),
        ('a: "Annotated[bool, Field(ge=1)]"', 1, "the type can have description"),
        ("a: \"Annotated[str, Field(pattern='(')]\" = ''", 1, "a: "),
        ('a: "Annotated[int, Field(ge=[])]" = 1', 1, "a: "),
        ("copy: bool = True", 1, "'copy' cannot be the name of a parameter"),
        ("_a: int = 1", 1, "'_a' cannot be the name of a parameter"),
    ],
)
def test_a_cell_with_more_than_annotated_literals_is_refused(notebook, source, line, words):
    with pytest.raises(ParameterError) as caught:
        read_parameters(notebook("pass", (source, TAG)))
    text = str(caught.value)
    assert text.startswith(f"written.ipynb, cell [2], line {line}: ")
    assert words in text
    assert "\n" not in text


def test_two_tagged_cells_are_refused(notebook):
    with pytest.raises(ParameterError, match=r"the cells \[1\] and \[3\] are all tagged 'parameters'"):
        read_parameters(notebook(("a: int = 1", TAG), "pass", ("b: int = 1", TAG)))


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_text("nope")
    (tmp_path / "b.ipynb").write_text('{"nbformat": 3, "worksheets": []}')
    with pytest.raises(ParameterError, match="not a notebook"):
        read_parameters(tmp_path / "a.ipynb")
    with pytest.raises(ParameterError, match="not a notebook of format 4; open it in JupyterLab and save it"):
        read_parameters(tmp_path / "b.ipynb")
    with pytest.raises(ParameterError, match="cannot be read: No such file"):
        read_parameters(tmp_path / "c.ipynb")


def test_declared_names_are_those_of_all_notebooks_once(fixtures):
    names = declared_names([fixtures / "ok.ipynb", fixtures / "slow.ipynb", fixtures / "stubborn.ipynb"])
    assert names == ["top", "symbol", "who", "marker"]
