"""What the errors mean, in sentences made from the numbers."""

import math
from collections.abc import Mapping, Sequence

from vd_forecasting.evaluation.differences import AVERAGE, Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.significance import MIN_BLOCKS
from vd_forecasting.vocabulary import MODELS, NAMES
from vd_forecasting.wording import (
    PRACTICALLY_EQUAL,
    ahead_ranges,
    compared,
    is_better,
    is_number,
    is_worse,
    lead_time,
    listed,
    number,
    percent,
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


def losing_horizons(
    errors: Errors, network: str, feature: str, baseline: str = "persistence"
) -> list[int]:
    """Horizons at which a baseline's MAE is lower by more than what is practically equal."""
    return [
        step
        for step in errors.horizons
        if is_worse(
            errors.at("mae", network, feature, step), errors.at("mae", baseline, feature, step)
        )
    ]


def baseline_wins(errors: Errors) -> list[str]:
    """A sentence per feature and baseline that beats a network somewhere."""
    sentences = []
    for feature in errors.features:
        for baseline in errors.baselines:
            beaten = [
                f"{NAMES[network]} {where}"
                for network in errors.networks
                if (where := where_baseline_wins(errors, network, feature, baseline))
            ]
            if beaten:
                sentences.append(f"{feature}: {NAMES[baseline]} beats {listed(beaten)}.")
    return sentences


def where_baseline_wins(errors: Errors, network: str, feature: str, baseline: str) -> str:
    """At which horizons, in words; empty if nowhere."""
    losing = losing_horizons(errors, network, feature, baseline)
    if len(losing) == len(errors.horizons) > 1:
        return "at every horizon"
    average = is_worse(errors.at("mae", network, feature), errors.at("mae", baseline, feature))
    places = ["averaged over horizons"] if average else []
    if losing:
        places.append(ahead_ranges(losing, errors.interval_minutes))
    return " and ".join(places)


def baselines_headline(errors: Errors) -> str:
    """Which baselines beat all networks on which features, averaged over horizons; often empty."""
    by_baseline: dict[str, list[str]] = {}
    for feature in errors.features:
        networks = [errors.at("mae", name, feature) for name in errors.networks]
        defined = [value for value in networks if is_number(value)]
        if not defined:
            continue
        winners = [
            name
            for name in errors.baselines
            if is_better(errors.at("mae", name, feature), min(defined))
        ]
        if winners:
            best = min(winners, key=lambda name: errors.at("mae", name, feature))
            by_baseline.setdefault(best, []).append(feature)
    whom = "both networks" if len(errors.networks) > 1 else "the network"
    return " ".join(
        f"**{_capital(NAMES[baseline])} beats {whom}** on {listed(features)}, averaged over "
        "horizons."
        for baseline, features in by_baseline.items()
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def networks_headline(errors: Errors, differences: Differences) -> str:
    """Which of two networks is better on how many features, beyond chance where that is known."""
    first, second = MODELS
    wins: dict[str, list[str]] = {first: [], second: []}
    equal = []
    features = compared_features(errors, differences)
    for feature in features:
        sign = decided(differences.between[feature, AVERAGE])
        if sign == 0:
            equal.append(feature)
        else:
            wins[second if sign < 0 else first].append(feature)
    if not features:
        why = listed(dict.fromkeys(_why_not_compared(errors, f) for f in errors.features))
        return f"**Nothing could be compared**: {why}."
    untested = [f for f in features if not differences.between[f, AVERAGE].is_tested]
    chance = "practically equal" if set(equal) <= set(untested) else "no difference beyond chance"
    verdict = _which_is_better(first, second, wins, equal, chance)
    return verdict + _untested(differences, untested, all_of_them=untested == features)


def compared_features(errors: Errors, differences: Differences) -> list[str]:
    """Features on which both networks have an error, and the difference is a number."""
    return [
        feature
        for feature in errors.features
        if all(is_number(errors.at("mae", model, feature)) for model in MODELS)
        and is_number(differences.between[feature, AVERAGE].change)
    ]


def _why_not_compared(errors: Errors, feature: str) -> str:
    if errors.count(feature) and errors.at("mae", MODELS[0], feature) == 0:
        return f"{NAMES[MODELS[0]]}'s error is zero"
    return why_undefined(errors, feature)


def decided(difference: Difference) -> int:
    """−1 where the second network is better, 1 where the first is, 0 where neither.

    Where there is an interval, it and the test must agree; else by what is practically equal.
    """
    if not is_number(difference.change):
        return 0
    if difference.is_tested:
        sure = not difference.spans_zero and difference.is_significant
    else:
        sure = abs(difference.change) >= PRACTICALLY_EQUAL
    return int(math.copysign(1, difference.change)) if sure else 0


def _untested(differences: Differences, features: Sequence[str], *, all_of_them: bool) -> str:
    if not features:
        return ""
    of_what = "" if all_of_them else f" on {listed(features)}"
    return (
        f" Whether this is more than chance is not known{of_what}: the test errors span "
        f"{number(differences.span_days)} days, and intervals take at least {MIN_BLOCKS} blocks of "
        f"{lead_time(24 * 60 * differences.block_days)} that are at least half observed."
    )


def _which_is_better(
    first: str, second: str, wins: Mapping[str, Sequence[str]], equal: Sequence[str], chance: str
) -> str:
    if not any(wins.values()):
        if chance == "practically equal":
            return (
                f"**{NAMES[first]} and {NAMES[second]} are practically equal**: their MAE differs "
                "by less than 1 % on every target feature."
            )
        return (
            f"**No difference between {NAMES[first]} and {NAMES[second]} is beyond chance**, on "
            "any target feature."
        )
    tail = f"; {chance} on {listed(equal)}" if equal else ""
    for better, other in ((first, second), (second, first)):
        if not wins[other]:
            all_of_them = not equal and len(wins[better]) > 1
            where = "every target feature" if all_of_them else listed(wins[better])
            return f"**{NAMES[better]} forecasts better than {NAMES[other]}** on {where}{tail}."
    return (
        f"**Neither is better throughout**: {NAMES[first]} on {listed(wins[first])}, "
        f"{NAMES[second]} on {listed(wins[second])}{tail}."
    )


def difference_details(errors: Errors, differences: Differences) -> list[str]:
    """Per feature: the networks' difference averaged over horizons, and at the last one."""
    steps = [AVERAGE, errors.horizons[-1]] if len(errors.horizons) > 1 else errors.horizons
    return [
        difference_sentence(errors, differences, feature, step)
        for feature in errors.features
        for step in steps
    ]


def difference_sentence(errors: Errors, differences: Differences, feature: str, step: int) -> str:
    """``total_volume, 60 min ahead: xLSTM 3.1 % lower MAE than LSTM (95 % interval …)``."""
    first, second = MODELS
    where = (
        "averaged over horizons"
        if step == AVERAGE
        else f"{lead_time(step * errors.interval_minutes)} ahead"
    )
    difference = differences.between[feature, step]
    maes = [errors.at("mae", model, feature, step or None) for model in MODELS]
    if not all(map(is_number, (*maes, difference.change))):
        return f"{feature}, {where}: not compared, {_why_not_compared(errors, feature)}."
    side = "lower" if difference.change < 0 else "higher"
    size = percent(abs(difference.change))
    evidence = evidence_in_words(difference, differences.confidence)
    sign = decided(difference)
    if sign == 0 and difference.is_tested:
        return (
            f"{feature}, {where}: no difference beyond chance; {NAMES[second]}'s MAE is {size} "
            f"{side} than {NAMES[first]}'s ({evidence})."
        )
    return (
        f"{feature}, {where}: {NAMES[second]} {size} {side} MAE than {NAMES[first]} ({evidence})."
    )


def evidence_in_words(difference: Difference, confidence: float) -> str:
    """``95 % interval 1.2 to 4.9 %, DM p = 0.002``; in the direction of the difference."""
    p_value = f"DM p {p_in_words(difference.p_value)}"
    if not difference.is_tested:
        return f"no interval, the test span is too short; {p_value}"
    if difference.spans_zero:
        ends = (difference.low, difference.high)
        low, high = (percent(value, signed=True).removesuffix(" %") for value in ends)
    else:
        low, high = (
            percent(value).removesuffix(" %")
            for value in sorted((abs(difference.low), abs(difference.high)))
        )
    return f"{100 * confidence:g} % interval {low} to {high} %, {p_value}"


def p_in_words(p_value: float) -> str:
    """``= 0.002``, ``< 0.001``, ``undefined``."""
    if not is_number(p_value):
        return "undefined"
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def seed_caveat(seeds: Mapping[str, Sequence[int]]) -> str:
    """What the trainings of each model can tell of seed noise.

    Args:
        seeds: of each network, by its name in words.
    """
    distinct = {tuple(of_model) for of_model in seeds.values()}
    if max(map(len, distinct)) == 1:
        single = sorted({seed for of_model in distinct for seed in of_model})
        which = f"seed{'' if len(single) == 1 else 's'} {listed(map(str, single))}"
        return (
            f"Each model was trained once ({which}). Seed noise is not covered: trained again with "
            "another seed, either model comes out somewhat better or worse, and by how much is not "
            "known. `training.seeds` takes a list."
        )
    if len(distinct) == 1:
        [of_all] = distinct
        trained = f"Each model was trained {len(of_all)} times (seeds {listed(map(str, of_all))})"
    else:
        counts = (f"{name} {plural(len(of_model), 'time')}" for name, of_model in seeds.items())
        trained = f"Trained with several seeds ({listed(counts)})"
    return (
        f"{trained}; errors are means over them, ± their standard "
        "deviation. Tests compare the losses averaged over seeds: what a training brings on "
        "average, not what the luckiest does."
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
