"""Results become Markdown tables, which land between the marks of a document."""

import json

import pytest

from benchmarks.figures import tables
from benchmarks.figures.comparison import Comparison
from benchmarks.figures.report import read_rows, write_json


@pytest.fixture
def results(tmp_path):
    rows = {
        'speed': [
            Comparison('a|b', 'fast', 'slow', [10.0, 10.0], [1234.0, 1234.0], target=15.0),
            Comparison('again', 'fast', 'slow', [10.0], [120.0], kind='cost', target=0.05),
        ],
        'memory': [Comparison('', 'node', 'torch', [800.0], [600.0], 'MB', 'difference', 250.0)],
        'gpu': [],
    }
    path = tmp_path / 'benchmarks.json'
    write_json(rows, {'speed': 'Speed', 'memory': 'Memory', 'gpu': 'On a GPU'}, path)
    return path


def test_rows_by_hand(results):
    text = tables.to_markdown(json.loads(results.read_text()))
    assert (
        '| a\\|b | fast: 10 ms | slow: 1230 ms | 123x | 123 to 123 | >= 15: met |\n'
        '| again | fast: 10 ms | slow: 120 ms | 0.0833x the cost | 0.0833 to 0.0833 '
        '| <= 0.05: **missed** |\n'
    ) in text
    assert '|  | node: 800 MB | torch: 600 MB | 200 MB more | 200 to 200 | <= 250: met |' in text
    assert '### On a GPU (`gpu`)\n\nnot measured\n' in text
    assert text.startswith('Measured 20')


def test_figures_of_an_earlier_run_are_kept_with_its_date(results):
    earlier = json.loads(results.read_text())
    del earlier['figures']['speed']['machine']  # as the first files were
    earlier['machine']['date'] = '1999-01-01'
    earlier['figures']['memory']['machine']['date'] = '1998-01-01'
    rows = {'gpu': [Comparison('new', 'a', 'b', [1.0], [3.0])]}
    written = write_json(rows, {'gpu': 'On a GPU'}, results, kept=earlier)
    assert written == json.loads(results.read_text())
    assert [*written['figures']] == ['speed', 'memory', 'gpu']
    assert read_rows(written)['gpu'][0].ratio == 3.0
    assert read_rows(written)['speed'][0].target == 15.0
    text = tables.to_markdown(written)
    assert text.startswith('### Speed (`speed`)\n\nMeasured 1999-01-01 at')
    assert '### Memory (`memory`)\n\nMeasured 1998-01-01 at' in text
    assert '### On a GPU (`gpu`)\n\nMeasured 20' in text


def test_tables_replace_what_stands_between_the_marks(results, tmp_path, capsys):
    document = tmp_path / 'performance.md'
    document.write_text(f'# Title\n\n{tables.BEGIN}\nold\n{tables.END}\n\nend\n')
    for _ in range(2):
        assert tables.main([str(results), '--into', str(document)]) == 0
    text = document.read_text()
    assert text.startswith(f'# Title\n\n{tables.BEGIN}\n\nMeasured ')
    assert text.endswith(f'\n{tables.END}\n\nend\n')
    assert text.count('### Speed (`speed`)') == 1
    assert 'old' not in text
    assert tables.main([str(results)]) == 0
    assert '### Speed (`speed`)' in capsys.readouterr().out


def test_a_document_without_marks_is_refused(results, tmp_path, capsys):
    with pytest.raises(ValueError, match='document must have the lines .* got one without. Add'):
        tables.insert('text', 'tables')
    document = tmp_path / 'other.md'
    document.write_text('text')
    with pytest.raises(SystemExit):
        tables.main([str(results), '--into', str(document)])
    assert document.read_text() == 'text'
    assert 'Add both' in capsys.readouterr().err


def test_the_document_of_this_project_has_the_marks(repository):
    text = (repository / 'docs' / 'performance.md').read_text()
    assert tables.insert(text, 'x').count(tables.BEGIN) == 1
