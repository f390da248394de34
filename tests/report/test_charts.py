import pytest

from rayzer.report.charts import histogram, line, round_step


@pytest.mark.parametrize(("size", "step"), [(1, 1), (1.1, 2), (0.3, 0.5), (0.05, 0.05), (6, 10), (20, 20)])
def test_round_steps(size, step):
    assert round_step(size) == pytest.approx(step)


def test_histogram_counts_every_value_once():
    chart = histogram([20.0, 20.4, 21.0, 39.99], "PSNR", "views")
    assert [bar.title for bar in chart.bars if bar.height] == ["20 to 21: 2", "21 to 22: 1", "39 to 40: 1"]
    assert max(bar.height for bar in chart.bars) == 100
    assert sum(bar.width for bar in chart.bars) == pytest.approx(100)
    assert [tick.label for tick in chart.y_ticks] == ["0", "1", "2"]


@pytest.mark.parametrize("values", [[20.0], [20.0] * 5, [-3.0, 1e3]])
def test_histogram_of_odd_values(values):
    chart = histogram(values, "PSNR", "views")
    assert len(chart.bars) <= 25
    assert all(0 <= tick.at <= 100 for tick in (*chart.x_ticks, *chart.y_ticks))


def test_line_goes_up_where_values_do():
    chart = line([(8, 22.0), (3, 20.0), (5, 20.0)], "Input photos", "PSNR")
    assert [tick.label for tick in chart.x_ticks] == ["3", "5", "8"]
    heights = [y for _, y in chart.line]
    assert heights[0] == heights[1] > heights[2] > 0
    assert "22.00 at 8" in chart.description


def test_line_of_equal_values_lies_in_the_middle():
    assert [y for _, y in line([(1, 20.0), (2, 20.0)], "x", "y").line] == pytest.approx([50, 50])
