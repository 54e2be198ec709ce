"""The pages: numbers against hand-computed ones, links, width, honesty."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import yaml
from kedro.io.catalog_config_resolver import CatalogConfigResolver
from kedro.pipeline import Pipeline

from tests.pipelines.artefacts import MAPE_MIN_TRUTH, make_artefacts, make_predictions
from vd_forecasting.parameters import EXPERIMENTS, MODELS, MODES, Evaluation
from vd_forecasting.pipelines.reporting import (
    create_comparison,
    create_comprehensive,
    create_experiment_report,
)
from vd_forecasting.pipelines.reporting.comparison_page import write_comparison
from vd_forecasting.pipelines.reporting.comparison_scores import (
    find_common_points,
    score_common_points,
)
from vd_forecasting.pipelines.reporting.comprehensive_page import write_comprehensive
from vd_forecasting.pipelines.reporting.comprehensive_points import (
    find_common_target,
    score_modes,
)
from vd_forecasting.pipelines.reporting.training_report import write_training_report
from vd_forecasting.pipelines.reporting.wording import number, percent

CATALOG = Path(__file__).parents[2] / "conf" / "base" / "catalog.yml"
EVALUATION = Evaluation(mape_min_truth=MAPE_MIN_TRUTH)
LINK = re.compile(r"\]\(([^)]+)\)")
SOME_VDS = [f"VD-{n:02d}" for n in range(4)]

Artefacts = dict[str, dict[str, Any]]


def make_all(**settings: Any) -> Artefacts:
    vdids = {"single_vd": SOME_VDS[:1], "multi_vd": SOME_VDS, "independent_multi_vd": SOME_VDS[:2]}
    defaults = {"origins": 300}
    return {
        name: make_artefacts(
            make_predictions(
                mode,
                model,
                vdids=settings.get("vdids", vdids[mode]),
                error=settings.get("error", {}).get(name, 0.6 if model == "lstm" else 0.5),
                **(defaults | settings.get("shape", {})),
            ),
            epochs=settings.get("epochs", 12),
            seconds=4.0 if model == "lstm" else 30.0,
        )
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }


@pytest.fixture(scope="module")
def artefacts() -> Artefacts:
    return make_all()


def comparison(artefacts: Artefacts, mode: str) -> str:
    lstm, xlstm = (artefacts[f"{mode}_{model}"] for model in MODELS)
    points = find_common_points(lstm["predictions"], xlstm["predictions"])
    errors, _ = score_common_points(points, EVALUATION, lstm["config"], xlstm["config"])
    return write_comparison(
        points,
        errors,
        lstm["config"],
        lstm["training_history"],
        lstm["metrics"],
        xlstm["config"],
        xlstm["training_history"],
        xlstm["metrics"],
    )


def comprehensive(artefacts: Artefacts) -> str:
    points = find_common_target(**{name: a["predictions"] for name, a in artefacts.items()})
    return write_comprehensive(
        points,
        score_modes(points, EVALUATION),
        *(
            {name: a[artefact] for name, a in artefacts.items()}
            for artefact in ("config", "training_history", "metrics")
        ),
    )


def all_pages(artefacts: Artefacts) -> dict[str, str]:
    """Pages by the dataset they are saved to."""
    pages = {
        f"{name}.training_report": write_training_report(**found)
        for name, found in artefacts.items()
    }
    pages |= {f"compare_{mode}.page": comparison(artefacts, mode) for mode in MODES}
    return pages | {"comprehensive_model_comparison": comprehensive(artefacts)}


def row(page: str, heading: str, start: str) -> list[str]:
    """The cells of the first row that starts so under a heading."""
    section = page.split(f"{heading}\n", 1)[1]
    line = next(line for line in section.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_training_report_has_the_errors_beside_persistence(artefacts: Artefacts) -> None:
    found = artefacts["multi_vd_xlstm"]
    page = write_training_report(**found)
    data = found["predictions"].sel(feature="avg_speed", horizon=6)
    own = float(np.abs(data["prediction"] - data["truth"]).mean())
    reference = float(np.abs(data["persistence"] - data["truth"]).mean())
    cells = row(page, "### avg_speed (km/h)", "30 min (step 6)")
    assert cells[1:4] == [
        number(own),
        number(reference),
        percent(own / reference - 1, signed=True),
    ]
    assert "| `VD-03` |" in page
    assert "30 % of the truths" not in page
    assert "2026-03-24 09:35" in page
    assert "`slstm_at` | [1, 3]" in page


def test_a_training_report_tells_the_chosen_epoch_and_the_gap(artefacts: Artefacts) -> None:
    found = artefacts["single_vd_lstm"]
    page = write_training_report(**found)
    run = found["training_history"]["joint"]
    assert f"| chosen epoch | {run['best_epoch']} of 12 |" in page
    assert "| training time | 50 s |" in page  # 12 epochs of 4 s, and 1.5 s, rounded
    assert "| over-fitting gap, mean | 1.12 |" in page  # made as 0.9 / 0.8
    assert "By VD" not in page


def test_independent_models_are_told_apart_and_their_times_added(artefacts: Artefacts) -> None:
    page = write_training_report(**artefacts["independent_multi_vd_lstm"])
    assert "| training time | 1 min 39 s |" in page  # 2 × 49.5 s
    assert "| trainable parameters | 2 × 1,385,252 |" in page
    for vdid, run in artefacts["independent_multi_vd_lstm"]["training_history"].items():
        assert f"| `{vdid}` | {run['best_epoch']} of 12 |" in page


def test_a_comparison_has_both_beside_persistence_with_the_better_one_bold(
    artefacts: Artefacts,
) -> None:
    page = comparison(artefacts, "multi_vd")
    expected = {}
    for model in MODELS:
        data = artefacts[f"multi_vd_{model}"]["predictions"].sel(feature="total_volume")
        expected[model] = float(np.abs(data["prediction"] - data["truth"]).mean())
        reference = float(np.abs(data["persistence"] - data["truth"]).mean())
    cells = row(page, "### total_volume (veh/5 min)", "average")
    assert cells[1:4] == [
        number(expected["lstm"]),
        f"**{number(expected['xlstm'])}**",
        number(reference),
    ]
    change = expected["xlstm"] / expected["lstm"] - 1
    assert cells[4] == percent(change, signed=True)
    verdict = page.split("## Test errors", maxsplit=1)[0]
    assert "**xLSTM forecasts better than LSTM** on every target feature." in verdict
    assert f"total_volume: xLSTM's MAE is {percent(-change)} lower than LSTM's" in verdict
    assert "One seed says nothing about seed noise" in verdict
    assert "an epoch of xLSTM takes 7.50 times as long" in verdict
    assert "`batch_size` 32 against 16" in page
    assert "Persistence wins" not in page


def test_a_comparison_says_first_where_persistence_wins() -> None:
    page = comparison(make_all(error={"single_vd_xlstm": 1.1}), "single_vd")
    first_lines = page.split("In numbers", maxsplit=1)[0]
    assert "**Persistence wins somewhere:**" in first_lines
    assert "avg_speed: persistence beats xLSTM at every horizon." in first_lines


def test_a_comparison_says_when_points_were_left_out(artefacts: Artefacts) -> None:
    found = {name: dict(a) for name, a in artefacts.items()}
    shorter = found["single_vd_xlstm"]["predictions"].isel(origin=slice(10, None))
    found["single_vd_xlstm"]["predictions"] = shorter
    page = comparison(found, "single_vd")
    assert "**The two did not forecast the same points**" in page
    assert "compared on the 290 in common" in page


def test_the_comprehensive_page_compares_modes_on_their_common_vd(artefacts: Artefacts) -> None:
    page = comprehensive(artefacts)
    assert "Compared on the VD that every mode forecasts, `VD-00`: 300 forecast origins" in page
    data = artefacts["multi_vd_lstm"]["predictions"].sel(vd="VD-00", feature="avg_speed")
    error = float(np.abs(data["prediction"] - data["truth"]).mean())
    cells = row(page, "### avg_speed (km/h)", "multi_vd LSTM")
    assert cells[5].strip("*") == number(error)
    assert page.count("| persistence |") == 3
    assert "which is simulated" in page
    assert "One seed" in page


def test_without_a_common_vd_the_comprehensive_page_says_so() -> None:
    found = make_all()
    for model in MODELS:
        name = f"single_vd_{model}"
        found[name] = make_artefacts(
            make_predictions("single_vd", model, vdids=["alone"], origins=300)
        )
    page = comprehensive(found)
    assert "**No VD is forecast in every mode**" in page
    assert page.count("| persistence |") == 9  # one per mode and feature


def test_short_trainings_are_flagged() -> None:
    found = make_all(epochs=1)
    assert "was still improving when the limit of epochs" in comparison(found, "single_vd")
    assert "were still improving when the limit of epochs" in comprehensive(found)


def dataset_paths() -> dict[str, PurePosixPath]:
    """Where the catalog puts what the reporting pipelines make, and the data quality page."""
    resolver = CatalogConfigResolver(yaml.safe_load(CATALOG.read_text()))
    pipelines = [
        *(Pipeline(create_experiment_report(), namespace=name) for name in EXPERIMENTS),
        *(create_comparison(mode) for mode in MODES),
        create_comprehensive(),
    ]
    names = {name for pipeline in pipelines for name in pipeline.outputs()} | {"data_quality"}
    return {
        name: PurePosixPath(resolver.resolve_pattern(name)["filepath"]) for name in sorted(names)
    }


def normal(path: PurePosixPath) -> PurePosixPath:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


@pytest.mark.skipif(not CATALOG.exists(), reason="no catalog")
def test_every_link_leads_to_a_file_that_the_catalog_writes(artefacts: Artefacts) -> None:
    paths = dataset_paths()
    linked = set()
    for name, page in all_pages(artefacts).items():
        links = LINK.findall(page)
        assert links
        for link in links:
            target = normal(paths[name].parent / link)
            assert target in paths.values(), f"{name}: {link}"
            linked.add(target)
    unlinked = {path for path in paths.values() if path.suffix == ".png"} - linked
    assert not unlinked, "plots that no page shows"


ODD = {
    "one horizon, one epoch": {"epochs": 1, "shape": {"horizons": 1}},
    "long": {"shape": {"horizons": 48, "features": ["avg_speed"], "interval_minutes": 15.0}},
    "many VDs": {"vdids": [f"{n:03d}" for n in range(60)], "shape": {"origins": 40}},
    "nothing observed": {"shape": {"missing": 2.0}},
}


@pytest.mark.parametrize("settings", ODD.values(), ids=ODD)
def test_pages_of_odd_shapes_are_whole_and_no_table_is_wide(settings: dict[str, Any]) -> None:
    for name, page in all_pages(make_all(**settings)).items():
        for line in page.splitlines():
            if line.startswith("|"):
                cells = line.replace("\\|", "").strip("|").split("|")
                assert len(cells) <= 8, f"{name}: {line}"
        assert not re.search(r"\bnan\b|None|\binf\b", page), name
        assert "\n\n\n" not in page
        assert page.startswith("# ")


def test_the_share_left_out_of_mape_is_told() -> None:
    predictions = make_predictions(origins=100, missing=0.0).copy(deep=True)
    predictions["truth"][:25, :, :, 1] = 0.0
    page = write_training_report(**make_artefacts(predictions))
    assert row(page, "All horizons together:", "total_volume")[-1] == "25.0 %"
