"""What the errors mean, in sentences made from the numbers."""

from collections.abc import Mapping, Sequence

from vd_forecasting.pipelines.reporting.errors import Errors
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.wording import (
    ahead_ranges,
    compared,
    is_better,
    is_number,
    is_worse,
    listed,
    number,
    plural,
    quantity,
)

_PERSISTENCES = "persistence's"


def against_persistence(errors: Errors, model: str) -> str:
    """Headline of one experiment: where it beats persistence and where not."""
    scored = [f for f in errors.features if is_number(errors.at("mae", model, f))]
    unscored = [f for f in errors.features if f not in scored]
    name = NAMES[model]
    if not scored:
        why = listed(dict.fromkeys(why_undefined(errors, f) for f in unscored))
        return f"**{name} could not be scored**: {why}."
    beaten = [f for f in scored if is_better(*_pair(errors, model, f))]
    lost = [f for f in scored if is_worse(*_pair(errors, model, f))]
    if len(beaten) == len(scored):
        every = "every scored target feature" if unscored else "every target feature"
        which = every if len(scored) > 1 else scored[0]
        headline = f"**{name} beats persistence on {which}**, averaged over all horizons."
    elif not beaten and not lost:
        headline = f"**{name} is practically equal to persistence**, averaged over all horizons."
    elif not beaten:
        headline = f"**{name} does not beat persistence** on any target feature."
    else:
        headline = (
            f"**{name} beats persistence on {listed(beaten)}, but not on "
            f"{listed(f for f in scored if f not in beaten)}**, averaged over all horizons."
        )
    for feature in unscored:
        headline += f" {feature} could not be scored: {why_undefined(errors, feature)}."
    return headline


def persistence_details(errors: Errors, model: str) -> list[str]:
    """One sentence per feature: the error beside persistence's, and the horizons where it loses."""
    return [_persistence_detail(errors, model, feature) for feature in errors.features]


def _persistence_detail(errors: Errors, model: str, feature: str) -> str:
    unit = errors.units.get(feature, "")
    own, reference = _pair(errors, model, feature)
    if not is_number(own):
        return f"{feature}: not scored, {why_undefined(errors, feature)}."
    sentence = (
        f"{feature}: MAE {quantity(own, unit)}, {compared(own, reference, _PERSISTENCES)}"
        f" ({number(reference)}), averaged over horizons"
    )
    losing = losing_horizons(errors, model, feature)
    if len(losing) == len(errors.horizons) > 1:
        return f"{sentence}; at every horizon persistence has the lower error."
    if losing:
        at = ahead_ranges(losing, errors.interval_minutes)
        return f"{sentence}; persistence has the lower error {at}."
    return f"{sentence}."


def why_undefined(errors: Errors, feature: str) -> str:
    """Why a feature has no error."""
    if errors.count(feature):
        return "a network's forecasts are not all numbers, its training diverged"
    return "no test value is observed"


def losing_horizons(errors: Errors, model: str, feature: str) -> list[int]:
    """Horizons at which persistence's MAE is lower by more than what is practically equal."""
    return [
        step
        for step in errors.horizons
        if is_worse(
            errors.at("mae", model, feature, step), errors.at("mae", "persistence", feature, step)
        )
    ]


def persistence_wins(errors: Errors) -> list[str]:
    """A sentence per feature and network that persistence beats somewhere."""
    return [
        f"{feature}: persistence beats {NAMES[model]} {where}."
        for feature in errors.features
        for model in errors.models
        if (where := where_persistence_wins(errors, model, feature))
    ]


def where_persistence_wins(errors: Errors, model: str, feature: str) -> str:
    """At which horizons, in words; empty if nowhere."""
    losing = losing_horizons(errors, model, feature)
    if len(losing) == len(errors.horizons) > 1:
        return "at every horizon"
    places = ["averaged over horizons"] if is_worse(*_pair(errors, model, feature)) else []
    if losing:
        places.append(ahead_ranges(losing, errors.interval_minutes))
    return " and ".join(places)


def networks_headline(errors: Errors) -> str:
    """Which of two networks is better on how many features, and if neither is of any use."""
    first, second = errors.models
    wins: dict[str, list[str]] = {first: [], second: []}
    equal, useful = [], False
    for feature in errors.features:
        one, two = errors.at("mae", first, feature), errors.at("mae", second, feature)
        if not is_number(one) or not is_number(two):
            continue
        useful |= is_better(min(one, two), errors.at("mae", "persistence", feature))
        if is_better(one, two):
            wins[first].append(feature)
        elif is_better(two, one):
            wins[second].append(feature)
        else:
            equal.append(feature)
    if not any(wins.values()) and not equal:
        why = listed(dict.fromkeys(why_undefined(errors, f) for f in errors.features))
        return f"**Nothing could be compared**: {why}."
    verdict = _which_is_better(first, second, wins, equal)
    if not useful:
        return f"**Neither network beats persistence**, averaged over horizons. {verdict}"
    return verdict


def _which_is_better(
    first: str, second: str, wins: Mapping[str, Sequence[str]], equal: Sequence[str]
) -> str:
    if not any(wins.values()):
        return (
            f"**{NAMES[first]} and {NAMES[second]} are practically equal**: their MAE differs by "
            "less than 1 % on every target feature."
        )
    tail = f"; practically equal on {listed(equal)}" if equal else ""
    for better, other in ((first, second), (second, first)):
        if not wins[other]:
            all_of_them = not equal and len(wins[better]) > 1
            where = "every target feature" if all_of_them else listed(wins[better])
            return f"**{NAMES[better]} forecasts better than {NAMES[other]}** on {where}{tail}."
    return (
        f"**Neither is better throughout**: {NAMES[first]} on {listed(wins[first])}, "
        f"{NAMES[second]} on {listed(wins[second])}{tail}."
    )


def network_details(errors: Errors) -> list[str]:
    """Per feature: the second network's MAE against the first's, and both against persistence."""
    first, second = errors.models
    firsts = f"{NAMES[first]}'s"
    sentences = []
    for feature in errors.features:
        one, two = errors.at("mae", first, feature), errors.at("mae", second, feature)
        reference = errors.at("mae", "persistence", feature)
        unit = errors.units.get(feature, "")
        if not is_number(one) or not is_number(two):
            sentences.append(f"{feature}: not compared, {why_undefined(errors, feature)}.")
            continue
        sentences.append(
            f"{feature}: {NAMES[second]}'s MAE is {compared(two, one, firsts)}, averaged "
            f"over horizons ({number(two)} against {quantity(one, unit)}); "
            f"{_both_against_persistence(one, two, reference, first, second)} "
            f"({number(reference)})."
        )
    return sentences


def _both_against_persistence(
    one: float, two: float, reference: float, first: str, second: str
) -> str:
    states = [
        _STATES[is_better(value, reference), is_worse(value, reference)] for value in (one, two)
    ]
    (one_does, both_do), (two_does, _) = states
    if one_does == two_does:
        return f"both {both_do} persistence"
    return f"{NAMES[first]} {one_does} persistence, {NAMES[second]} {two_does} it"


_STATES = {
    (True, False): ("beats", "beat"),
    (False, True): ("loses to", "lose to"),
    (False, False): ("is practically equal to", "are practically equal to"),
}


def seed_caveat(seeds: Sequence[int]) -> str:
    """What a single training of each model cannot tell."""
    distinct = sorted(set(seeds))
    which = f"seed {distinct[0]}" if len(distinct) == 1 else f"seeds {listed(map(str, distinct))}"
    return (
        f"Each model was trained once ({which}). One seed says nothing about seed noise: trained "
        "again with another seed, either model comes out somewhat better or worse, and by how much "
        "is not known."
    )


def scored_in_words(errors: Errors) -> str:
    """How many truths the errors rest on: ``1,200 to 1,234 observed values per feature``."""
    counts = [errors.count(feature) for feature in errors.features]
    low, high = min(counts), max(counts)
    if low == high:
        return f"{plural(low, 'observed value')} per feature"
    return f"{low:,} to {high:,} observed values per feature"


def _pair(errors: Errors, model: str, feature: str) -> tuple[float, float]:
    return errors.at("mae", model, feature), errors.at("mae", "persistence", feature)
