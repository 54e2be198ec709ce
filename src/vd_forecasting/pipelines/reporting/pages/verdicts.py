"""Sentences that depend on numbers: which model is better, by how much, at what cost."""

import math
from collections.abc import Mapping, Sequence

from vd_forecasting.evaluation.differences import AVERAGE, Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.significance import MIN_BLOCKS
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.vocabulary import MODELS, MODES, NAMES
from vd_forecasting.wording import (
    PRACTICALLY_EQUAL,
    ahead_ranges,
    change,
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
    """Whether the trainings of each network cover seed noise; seeds by the network's name."""
    distinct = {tuple(of_model) for of_model in seeds.values()}
    if max(map(len, distinct)) == 1:
        single = sorted({seed for of_model in distinct for seed in of_model})
        which = f"seed{'' if len(single) == 1 else 's'} {listed(map(str, single))}"
        return (
            f"Each model was trained once ({which}). Seed noise is not covered: with another seed "
            "either model would do somewhat better or worse, by an unknown amount. "
            "`training.seeds` takes a list."
        )
    if len(distinct) == 1:
        [of_all] = distinct
        trained = f"Each model was trained {len(of_all)} times (seeds {listed(map(str, of_all))})"
    else:
        counts = (f"{name} {plural(len(of_model), 'time')}" for name, of_model in seeds.items())
        trained = f"Trained with several seeds ({listed(counts)})"
    return (
        f"{trained}; errors are means over them, ± their standard deviation. Tests compare the "
        "losses averaged over seeds, so they are about the average training, not the luckiest."
    )


def cost_comparison(costs: Mapping[str, Costs]) -> str:
    """How much longer xLSTM trained than LSTM, and how their sizes compare; by model."""
    lstm, xlstm = costs["lstm"], costs["xlstm"]
    sizes = f"{xlstm.parameters_in_words} parameters against {lstm.parameters_in_words}"
    per_epoch = _times_as_long(xlstm.seconds_per_epoch, lstm.seconds_per_epoch)
    if not per_epoch:
        return f"Cost: xLSTM has {sizes}."
    total = _times_as_long(xlstm.seconds, lstm.seconds)
    return (
        f"Cost: an epoch of xLSTM takes {per_epoch} as one of LSTM, all training {total}; it has "
        f"{sizes}."
    )


def _times_as_long(seconds: float | None, reference: float | None) -> str:
    if not seconds or not reference:
        return ""
    return f"{number(seconds / reference)} times as long"


def cost_span(costs: Mapping[str, Costs]) -> list[str]:
    """How much longer an epoch of xLSTM takes, over all modes that have both; by experiment."""
    ratios = []
    for mode in MODES:
        of_both = [costs.get(f"{mode}_{model}") for model in MODELS]
        lstm, xlstm = (cost.seconds_per_epoch if cost else None for cost in of_both)
        if lstm and xlstm:
            ratios.append(xlstm / lstm)
    if not ratios:
        return []
    low, high = number(min(ratios)), number(max(ratios))
    span = low if low == high else f"{low} to {high}"
    return [f"Cost: an epoch of xLSTM takes {span} times as long as one of LSTM."]


def cut_short(costs: Mapping[str, Costs]) -> list[str]:
    """A sentence per model whose training divergence or the limit of epochs cut short."""
    diverged = [
        f"{NAMES[model]} diverged in training"
        + _in_how_many(cost.diverged, cost, "")
        + "; the best epoch before is used. A lower learning rate may help."
        for model, cost in costs.items()
        if cost.diverged
    ]
    return diverged + [
        f"{NAMES[model]} was still improving when the limit of epochs ended training"
        + _in_how_many(cost.still_improving, cost, "in ")
        + "; more epochs may help."
        for model, cost in costs.items()
        if cost.still_improving
    ]


def _in_how_many(trainings: int, cost: Costs, preposition: str) -> str:
    total = len(cost.fits)
    return f" ({preposition}{trainings} of {total} trainings)" if total > 1 else ""


def baselines_headline_of_modes(by_mode: Mapping[str, Errors]) -> str:
    """Which baselines beat both networks on which features, and in which modes."""
    modes: dict[str, list[str]] = {}
    for mode, errors in by_mode.items():
        sentence = baselines_headline(errors)
        if sentence:
            modes.setdefault(sentence, []).append(mode)
    return " ".join(
        f"{sentence.removesuffix('.')}, in "
        f"{'every mode' if len(where) == len(by_mode) else listed(where)}."
        for sentence, where in modes.items()
    )


def baseline_wins_of_modes(by_mode: Mapping[str, Errors]) -> list[str]:
    """Sentences on baselines that beat networks of any mode, averaged over horizons."""
    networks = [(mode, model) for mode, errors in by_mode.items() for model in errors.networks]
    beaten: dict[tuple[str, str], list[str]] = {}
    for mode, model in networks:
        errors = by_mode[mode]
        for feature in errors.features:
            own = errors.at("mae", model, feature)
            for name in errors.baselines:
                if is_worse(own, errors.at("mae", name, feature)):
                    beaten.setdefault((feature, name), []).append(f"{mode} {NAMES[model]}")
    return [
        f"{feature}: {NAMES[name]} beats "
        f"{'every network' if len(whom) == len(networks) else listed(whom)}."
        for (feature, name), whom in sorted(beaten.items())
    ]


def difference_details_of_modes(
    by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]
) -> list[str]:
    """Per mode and feature the networks' difference, averaged over horizons."""
    by_mode = with_both_networks(by_mode)
    repeated = identical_modes(by_mode)
    return [
        f"{mode}, {difference_sentence(errors, differences[mode], feature, AVERAGE)}"
        for mode, errors in by_mode.items()
        if mode not in repeated
        for feature in errors.features
    ]


def tally(by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]) -> str:
    """In how many pairs of mode and feature which network is better."""
    by_mode = with_both_networks(by_mode)
    if not by_mode:
        return "**LSTM and xLSTM cannot be compared**: no mode has both."
    repeated = identical_modes(by_mode)
    signs = [
        decided(differences[mode].between[feature, AVERAGE])
        for mode, errors in by_mode.items()
        if mode not in repeated
        for feature in compared_features(errors, differences[mode])
    ]
    if not signs:
        return "**Nothing could be compared**: no common target value is observed."
    wins, equal = {"lstm": signs.count(1), "xlstm": signs.count(-1)}, signs.count(0)
    tested = any(of_mode.is_tested for of_mode in differences.values())
    better, other = sorted(wins, key=lambda model: -wins[model])
    lower = "the lower MAE beyond chance" if tested else "the lower MAE"
    pairs = f"{plural(len(signs), 'pair')} of mode and feature"
    if equal == len(signs) and tested:
        text = f"**No difference between LSTM and xLSTM is beyond chance**, in {pairs}"
    elif wins[better] == wins[other]:
        text = f"**LSTM and xLSTM are even**: of {pairs}, each has {lower} in {wins[better]}"
    else:
        text = f"**{NAMES[better]} has {lower} in {wins[better]} of {pairs}**"
        text += f", {NAMES[other]} in {wins[other]}"
    if equal and not (equal == len(signs) and tested):
        text += f"; in {equal} " + (
            "no difference is beyond chance" if tested else "they are practically equal"
        )
    text += "."
    if not tested:
        text += " Whether that is more than chance is not known, the test span is too short."
    return text + "".join(
        f" {mode} came out identical to {earlier} and is counted once: where both train a model on "
        "the same detector alone with the same settings, they are the same experiment."
        for mode, earlier in repeated.items()
    )


def with_both_networks(by_mode: Mapping[str, Errors]) -> dict[str, Errors]:
    """The modes of which no experiment is missing."""
    return {mode: errors for mode, errors in by_mode.items() if len(errors.networks) == len(MODELS)}


def identical_modes(by_mode: Mapping[str, Errors]) -> dict[str, str]:
    """Modes whose errors are those of an earlier mode, and that mode."""
    identical: dict[str, str] = {}
    modes = list(by_mode)
    for position, mode in enumerate(modes):
        for earlier in modes[:position]:
            if by_mode[mode].by_horizon.equals(by_mode[earlier].by_horizon):
                identical.setdefault(mode, earlier)
    return identical


def best_of(by_mode: Mapping[str, Errors], feature: str) -> str:
    """The best of all networks on a feature, those practically equal, and persistence."""
    repeated = identical_modes(by_mode)
    errors = next(iter(by_mode.values()))
    values = {
        f"{mode} {NAMES[model]}": of_mode.at("mae", model, feature)
        for mode, of_mode in by_mode.items()
        for model in of_mode.networks
        if feature in of_mode.features and mode not in repeated
    }
    values = {name: value for name, value in values.items() if is_number(value)}
    if not values:
        return f"{feature}: not scored, {why_undefined(errors, feature)}."
    reference = errors.at("mae", "persistence", feature)
    best, worst = (choose(values, key=lambda name: values[name]) for choose in (min, max))
    equal = [
        name
        for name, value in values.items()
        if name != best and change(value, values[best]) < PRACTICALLY_EQUAL
    ]
    if is_better(values[best], reference):
        lower = percent(-change(values[best], reference))
        against = f"{lower} lower than persistence's ({number(reference)})"
    elif is_worse(values[best], reference):
        against = f"yet persistence's is lower ({number(reference)})"
    else:
        against = f"practically equal to persistence's ({number(reference)})"
    sentence = (
        f"{feature}: the lowest MAE is {best}'s, "
        f"{quantity(values[best], errors.units.get(feature, ''))}, {against}"
    )
    if equal:
        sentence += f"; {listed(equal)} {'is' if len(equal) == 1 else 'are'} practically equal"
    if worst not in equal and worst != best:
        sentence += f"; the highest is {worst}'s, {number(values[worst])}"
    return f"{sentence}."


def _pair(errors: Errors, model: str, feature: str) -> tuple[float, float]:
    return errors.at("mae", model, feature), errors.at("mae", "persistence", feature)
