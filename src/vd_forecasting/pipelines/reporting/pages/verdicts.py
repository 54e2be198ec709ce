"""Sentences that depend on numbers: which model is better, by how much, at what cost."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product

from vd_forecasting.artefacts import Config
from vd_forecasting.evaluation.differences import Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.significance import MIN_DAYS, MIN_DAYS_OF_SET
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.rendering.markdown import bold, plain_list, plain_text
from vd_forecasting.vocabulary import EVERY_MODE, MODELS, NAMES
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
_EVERYWHERE = "at every horizon"


def against_persistence(errors: Errors, model: str) -> str:
    """Headline of one experiment: where it beats persistence and where not."""
    name, maes = NAMES[model], {f: with_persistence(errors, model, f) for f in errors.features}
    scored = [feature for feature, (own, _) in maes.items() if is_number(own)]
    unscored = {f: why_undefined(errors, f) for f in errors.features if f not in scored}
    if not scored:
        return f"**{name} could not be scored**: {listed(dict.fromkeys(unscored.values()))}."
    beaten = [feature for feature in scored if is_better(*maes[feature])]
    others = [feature for feature in scored if feature not in beaten]
    tail = f"averaged over all horizons{_unless_sure(errors)}."
    if beaten:
        every = "every scored target feature" if unscored else "every target feature"
        where = every if len(scored) > 1 else plain_text(scored[0])
        if others:
            where = f"{plain_list(beaten)}, but not on {plain_list(others)}"
        headline = f"{_bold(f'{name} beats persistence on {where}', errors)}, {tail}"
    elif any(is_worse(*maes[feature]) for feature in scored):
        failed = _bold(f"{name} does not beat persistence", errors)
        headline = f"{failed} on any target feature{_unless_sure(errors)}."
    else:
        headline = f"{_bold(f'{name} is practically equal to persistence', errors)}, {tail}"
    return headline + "".join(
        f" {plain_text(feature)} could not be scored: {why}." for feature, why in unscored.items()
    )


def _bold(claim: str, errors: Errors) -> str:
    """A claim that one model is better; not bold where the test days are too few."""
    return bold(claim) if errors.most_days >= MIN_DAYS else claim


def _unless_sure(errors: Errors) -> str:
    """What is added to such a claim where the test days are too few."""
    if errors.most_days >= MIN_DAYS:
        return ""
    are = "is" if errors.most_days == 1 else "are"
    return f", but {plural(errors.most_days, 'test day')} {are} too few for a verdict"


def persistence_details(errors: Errors, model: str) -> list[str]:
    """One sentence per feature: the error beside persistence's, and the horizons where it loses."""
    details = []
    for feature in errors.features:
        own, reference = with_persistence(errors, model, feature)
        sentence = f"{plain_text(feature)}: not scored, {why_undefined(errors, feature)}"
        if is_number(own):
            sentence = (
                f"{plain_text(feature)}: MAE {quantity(own, _unit(errors, feature))}, "
                f"{compared(own, reference, _PERSISTENCES)} ({number(reference)}), averaged over "
                "horizons"
            )
            losing = _where_losing(errors, model, feature, "persistence")
            if losing == _EVERYWHERE:
                sentence += f"; {losing} persistence has the lower error"
            elif losing:
                sentence += f"; persistence has the lower error {losing}"
        details.append(f"{sentence}.")
    return details


def _unit(errors: Errors, feature: str) -> str:
    return plain_text(errors.units.get(feature, ""))


def with_persistence(
    errors: Errors, model: str, feature: str, horizon: int | None = None, metric: str = "mae"
) -> tuple[float, float]:
    """An error of a model, and persistence's."""
    own, reference = (errors.at(metric, who, feature, horizon) for who in (model, "persistence"))
    return own, reference


def why_undefined(errors: Errors, feature: str) -> str:
    """Why a feature has no error."""
    if errors.count(feature):
        return "a network's forecasts are not all numbers, its training diverged"
    return "no test value is observed"


def _where_losing(errors: Errors, network: str, feature: str, baseline: str) -> str:
    """At which horizons a baseline's MAE is lower by more than what is practically equal."""
    losing = [
        step
        for step in errors.horizons
        if is_worse(*(errors.at("mae", name, feature, step) for name in (network, baseline)))
    ]
    if len(losing) == len(errors.horizons) > 1:
        return _EVERYWHERE
    return ahead_ranges(losing, errors.interval_minutes)


def winners_by_block(errors: Errors) -> list[str]:
    """A sentence per feature: in how many test blocks which network and which model leads."""
    sentences, tested = [], [*errors.networks, *errors.baselines]
    for feature in errors.features:
        mae = errors.by_block["mae"].sel(feature=feature)
        mae = mae.isel(block=mae.notnull().all("model").values)
        if not mae.sizes["block"]:
            continue
        network, model = (
            Counter(map(str, of["model"].values[of.argmin("model").values])).most_common()
            for of in (mae.sel(model=errors.networks), mae.sel(model=tested))
        )
        best, lowest = (
            listed(f"{NAMES[name]} in {times}" for name, times in found)
            for found in (network, model)
        )
        sentences.append(
            f"{plain_text(feature)}: the better network is {best} of "
            f"{plural(mae.sizes['block'], 'block')}; the best model is {lowest}."
        )
    return sentences


def failed_blocks(configs: Iterable[Config]) -> list[str]:
    """A sentence per test block and experiment that has no forecasts of it."""
    return [
        f"{NAMES[config.model]} has no forecasts of test block {number}: {plain_text(why)}."
        for config in configs
        for number, why in config.failed.items()
    ]


def baseline_wins(errors: Errors) -> list[str]:
    """A sentence per feature and baseline that beats a network somewhere."""
    wins: dict[tuple[str, str], list[str]] = {}
    for feature, baseline, network in product(errors.features, errors.baselines, errors.networks):
        where = _where_losing(errors, network, feature, baseline)
        if where != _EVERYWHERE and _is_beaten(errors, network, feature, baseline):
            where = " and ".join(filter(None, ["averaged over horizons", where]))
        if where:
            wins.setdefault((feature, baseline), []).append(f"{NAMES[network]} {where}")
    return [
        f"{plain_text(feature)}: {NAMES[name]} beats {listed(whom)}."
        for (feature, name), whom in wins.items()
    ]


def baseline_wins_of_modes(by_mode: Mapping[str, Errors]) -> list[str]:
    """Sentences on baselines that beat networks of any mode, averaged over horizons."""
    wins: dict[tuple[str, str], list[str]] = {}
    for mode, errors in by_mode.items():
        for model, feature, name in product(errors.networks, errors.features, errors.baselines):
            if _is_beaten(errors, model, feature, name):
                wins.setdefault((feature, name), []).append(f"{mode} {NAMES[model]}")
    networks = sum(len(errors.networks) for errors in by_mode.values())
    return [
        f"{plain_text(feature)}: {NAMES[name]} beats "
        f"{'every network' if len(whom) == networks else listed(whom)}."
        for (feature, name), whom in sorted(wins.items())
    ]


def _is_beaten(errors: Errors, network: str, feature: str, baseline: str) -> bool:
    return is_worse(*(errors.at("mae", name, feature) for name in (network, baseline)))


def baselines_headline(errors: Errors) -> str:
    """Which baselines beat all networks on which features, averaged over horizons; often empty."""
    claims = _leading_baselines(errors)
    return " ".join(f"{claim}{_unless_sure(errors)}." for claim in claims)


def _leading_baselines(errors: Errors) -> list[str]:
    by_baseline: dict[str, list[str]] = {}
    for feature in errors.features:
        networks = (errors.at("mae", name, feature) for name in errors.networks)
        lowest = min(filter(is_number, networks), default=math.nan)
        maes = {name: errors.at("mae", name, feature) for name in errors.baselines}
        winners = [name for name, value in maes.items() if is_better(value, lowest)]
        if winners:
            by_baseline.setdefault(min(winners, key=lambda name: maes[name]), []).append(feature)
    whom = "both networks" if len(errors.networks) > 1 else "the network"
    return [
        f"{_bold(f'{NAMES[baseline].capitalize()} beats {whom}', errors)} on "
        f"{plain_list(features)}, averaged over horizons"
        for baseline, features in by_baseline.items()
    ]


def baselines_headline_of_modes(by_mode: Mapping[str, Errors]) -> str:
    """Which baselines beat both networks on which features, and in which modes."""
    modes: dict[tuple[str, str], list[str]] = {}
    for mode, errors in by_mode.items():
        for claim in _leading_baselines(errors):
            modes.setdefault((claim, _unless_sure(errors)), []).append(mode)
    return " ".join(
        f"{claim}, in {'every mode' if len(where) == len(by_mode) else listed(where)}{tail}."
        for (claim, tail), where in modes.items()
    )


def networks_headline(errors: Errors, differences: Differences) -> str:
    """Which of two networks is better on which features; better needs enough test days."""
    signs = _signs(errors, differences)
    if not signs:
        why = listed(dict.fromkeys(_why_not_compared(errors, f) for f in errors.features))
        return f"**Nothing could be compared**: {why}."
    untested = [f for f in signs if not differences.between[f, AVERAGE].is_tested]
    tested = {feature: sign for feature, sign in signs.items() if feature not in untested}
    if not tested:
        return f"**Too few test days for a verdict**: {_days_there_are(differences, untested)}."
    verdict = _verdict(tested, every=not untested)
    if untested:
        days = _days_there_are(differences, untested)
        verdict += f" On {plain_list(untested)} the test days are too few for a verdict: {days}."
    return verdict


def _days_there_are(differences: Differences, features: Sequence[str]) -> str:
    days = max(differences.days[feature] for feature in features)
    return f"{plural(days, 'day')} with at least half of the origins scored, it takes {MIN_DAYS}"


def _verdict(signs: Mapping[str, int], *, every: bool) -> str:
    """The verdict on features that are tested; ``every`` says that no other one is scored."""
    equal = [feature for feature, sign in signs.items() if sign == 0]
    tail = f"; no difference beyond chance on {plain_list(equal)}" if equal else ""
    wins = {
        NAMES[model]: [feature for feature, sign in signs.items() if sign == of_model]
        for model, of_model in zip(MODELS, (1, -1), strict=True)
    }
    first, second = wins
    better, other = sorted(wins, key=lambda name: -len(wins[name]))
    if wins[other]:
        return (
            f"**Neither is better throughout**: {first} on {plain_list(wins[first])}, {second} on "
            f"{plain_list(wins[second])}{tail}."
        )
    if wins[better]:
        several = every and not equal and len(signs) > 1
        where = "every target feature" if several else plain_list(wins[better])
        return f"**{better} forecasts better than {other}** on {where}{tail}."
    where = "on any target feature" if every else f"on {plain_list(equal)}"
    return f"**No difference between {first} and {second} is beyond chance**, {where}."


def _signs(errors: Errors, differences: Differences) -> dict[str, int]:
    """:func:`decided` by feature, where both networks have an error and can be compared."""
    return {
        feature: decided(difference)
        for feature in errors.features
        for difference in [differences.between[feature, AVERAGE]]
        if is_number(difference.change)
        and all(is_number(errors.at("mae", model, feature)) for model in MODELS)
    }


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


def difference_details(errors: Errors, differences: Differences) -> list[str]:
    """Per feature: the networks' difference averaged over horizons, and at the last one."""
    steps = [AVERAGE, errors.horizons[-1]] if len(errors.horizons) > 1 else errors.horizons
    return [
        difference_sentence(errors, differences, feature, step)
        for feature, step in product(errors.features, steps)
    ]


def difference_sentence(errors: Errors, differences: Differences, feature: str, step: int) -> str:
    """``total_volume, 60 min ahead: xLSTM 3.1 % lower MAE than LSTM (95 % interval …)``."""
    first, second = (NAMES[model] for model in MODELS)
    about = f"{plain_text(feature)}, {lead_time(step * errors.interval_minutes)} ahead"
    if step == AVERAGE:
        about = f"{plain_text(feature)}, averaged over horizons"
    difference = differences.between[feature, step]
    maes = [errors.at("mae", model, feature, step or None) for model in MODELS]
    if not all(map(is_number, (*maes, difference.change))):
        return f"{about}: not compared, {_why_not_compared(errors, feature)}."
    size = f"{percent(abs(difference.change))} {'lower' if difference.change < 0 else 'higher'}"
    evidence = evidence_in_words(difference, differences.confidence)
    if difference.is_tested and not decided(difference):
        return (
            f"{about}: no difference beyond chance; {second}'s MAE is {size} than {first}'s "
            f"({evidence})."
        )
    return f"{about}: {second} {size} MAE than {first} ({evidence})."


def evidence_in_words(difference: Difference, confidence: float) -> str:
    """``95 % interval 1.2 to 4.9 %, DM p = 0.002``; in the direction of the difference."""
    if not difference.is_tested:
        return "no interval, the test days are too few"
    p_value = f"DM p {p_in_words(difference.p_value)}"
    signed, ends = difference.spans_zero, [difference.low, difference.high]
    ends = ends if signed else sorted(map(abs, ends))
    low, high = (percent(end, signed=signed).removesuffix(" %") for end in ends)
    return f"{100 * confidence:g} % interval {low} to {high} %, {p_value}"


def about_confidence_set(found: Differences | AcrossModes, among: str) -> str:
    """What the marks of a table mean; ``among`` says which models, behind a blank."""
    if found.has_set:
        return (
            f"MCS: the model confidence set{among}, those that no other model beats beyond chance "
            f"({100 * found.confidence:g} %). A model in it may still be far from the best: over "
            f"{plural(found.most_days, 'test day')} that differ, even a much higher error can be "
            "chance."
        )
    return (
        f"No model confidence set (MCS): {plural(found.most_days, 'test day')} with at least half "
        f"of the origins scored are too few to rule any model out; it takes {MIN_DAYS_OF_SET}."
    )


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
    counts = (f"{name} {plural(len(of_model), 'time')}" for name, of_model in seeds.items())
    trained = f"Trained with several seeds ({listed(counts)})"
    if len(distinct) == 1:
        [of_all] = distinct
        trained = f"Each model was trained {len(of_all)} times (seeds {listed(map(str, of_all))})"
    return (
        f"{trained}; errors are means over them, ± their standard deviation. Tests compare the "
        "losses averaged over seeds, so they are about the average training, not the luckiest."
    )


def cost_comparison(costs: Mapping[str, Costs]) -> str:
    """How much longer xLSTM trained than LSTM, and how their sizes compare; by model."""
    lstm, xlstm = costs["lstm"], costs["xlstm"]
    return (
        "Cost: an epoch of xLSTM takes "
        f"{number(xlstm.seconds_per_epoch / lstm.seconds_per_epoch)} times as long as one of LSTM, "
        f"all training {number(xlstm.seconds / lstm.seconds)} times as long; it has "
        f"{xlstm.parameters_in_words} parameters against {lstm.parameters_in_words}."
    )


def cost_span(costs: Mapping[str, Costs]) -> list[str]:
    """How much longer an epoch of xLSTM takes, over all modes that have both; by experiment."""
    ratios = [
        costs[f"{mode}_xlstm"].seconds_per_epoch / costs[f"{mode}_lstm"].seconds_per_epoch
        for mode in EVERY_MODE
        if {f"{mode}_lstm", f"{mode}_xlstm"} <= costs.keys()
    ]
    if not ratios:
        return []
    span = " to ".join(dict.fromkeys(number(extreme(ratios)) for extreme in (min, max)))
    return [f"Cost: an epoch of xLSTM takes {span} times as long as one of LSTM."]


def cut_short(costs: Mapping[str, Costs]) -> list[str]:
    """A sentence per model whose training divergence or the limit of epochs cut short."""
    diverged = [
        f"{NAMES[model]} diverged in training{_in_how_many(cost.diverged, cost, '')}; the best "
        "epoch before is used. A lower learning rate may help."
        for model, cost in costs.items()
        if cost.diverged
    ]
    return diverged + [
        f"{NAMES[model]} was still improving when the limit of epochs ended training"
        f"{_in_how_many(cost.still_improving, cost, 'in ')}; more epochs may help."
        for model, cost in costs.items()
        if cost.still_improving
    ]


def _in_how_many(trainings: int, cost: Costs, preposition: str) -> str:
    total = len(cost.fits)
    return f" ({preposition}{trainings:,} of {total:,} trainings)" if total > 1 else ""


def difference_details_of_modes(
    by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]
) -> list[str]:
    """Per mode and feature the networks' difference, averaged over horizons."""
    return [
        f"{mode}, {difference_sentence(errors, differences[mode], feature, AVERAGE)}"
        for mode, errors in _distinct(_with_both_networks(by_mode)).items()
        for feature in errors.features
    ]


def tally(by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]) -> str:
    """In how many pairs of mode and feature which network is better."""
    by_mode = _with_both_networks(by_mode)
    if not by_mode:
        return "**LSTM and xLSTM cannot be compared**: no mode has both."
    signs = [
        sign
        for mode, errors in _distinct(by_mode).items()
        for sign in _signs(errors, differences[mode]).values()
    ]
    if not signs:
        return "**Nothing could be compared**: no common target value is observed."
    wins, equal = {"LSTM": signs.count(1), "xLSTM": signs.count(-1)}, signs.count(0)
    better, other = sorted(wins, key=lambda name: -wins[name])
    tested = any(of_mode.is_tested for of_mode in differences.values())
    lower = "the lower MAE beyond chance" if tested else "the lower MAE"
    pairs = f"{plural(len(signs), 'pair')} of mode and feature"
    if not tested:
        text = (
            f"**Too few test days for a verdict**: of {pairs}, LSTM has {lower} in {wins['LSTM']}, "
            f"xLSTM in {wins['xLSTM']}"
        )
    elif wins[better] == wins[other]:
        text = f"**LSTM and xLSTM are even**: of {pairs}, each has {lower} in {wins[better]}"
    else:
        text = f"**{better} has {lower} in {wins[better]} of {pairs}**, {other} in {wins[other]}"
    if equal == len(signs) and tested:
        text = f"**No difference between LSTM and xLSTM is beyond chance**, in {pairs}"
    elif equal:
        alike = "no difference is beyond chance" if tested else "they are practically equal"
        text += f"; in {equal} {alike}"
    return f"{text}." + "".join(
        f" {mode} came out identical to {earlier} and is counted once: where both train a model on "
        "the same detector alone with the same settings, they are the same experiment."
        for mode, earlier in identical_modes(by_mode).items()
    )


def _with_both_networks(by_mode: Mapping[str, Errors]) -> dict[str, Errors]:
    return {mode: errors for mode, errors in by_mode.items() if len(errors.networks) == len(MODELS)}


def identical_modes(by_mode: Mapping[str, Errors]) -> dict[str, str]:
    """Modes whose errors are those of an earlier mode, and that mode."""
    identical: dict[str, str] = {}
    for earlier, mode in combinations(by_mode, 2):
        if by_mode[mode].by_horizon.equals(by_mode[earlier].by_horizon):
            identical.setdefault(mode, earlier)
    return identical


def _distinct(by_mode: Mapping[str, Errors]) -> dict[str, Errors]:
    repeated = identical_modes(by_mode)
    return {mode: errors for mode, errors in by_mode.items() if mode not in repeated}


def best_of(by_mode: Mapping[str, Errors], feature: str) -> str:
    """The best of all networks on a feature, those practically equal, and persistence."""
    errors = next(iter(by_mode.values()))
    maes = {
        f"{mode} {NAMES[model]}": of_mode.at("mae", model, feature)
        for mode, of_mode in _distinct(by_mode).items()
        for model in of_mode.networks
        if feature in of_mode.features
    }
    maes = {name: value for name, value in maes.items() if is_number(value)}
    if not maes:
        return f"{plain_text(feature)}: not scored, {why_undefined(errors, feature)}."
    reference = errors.at("mae", "persistence", feature)
    best, worst = (choose(maes, key=lambda name: maes[name]) for choose in (min, max))
    lowest = maes[best]
    equal = [
        name
        for name, value in maes.items()
        if name != best and change(value, lowest) < PRACTICALLY_EQUAL
    ]
    against = compared(lowest, reference, _PERSISTENCES)
    if is_worse(lowest, reference):
        against = "yet persistence's is lower"
    sentence = (
        f"{plain_text(feature)}: the lowest MAE is {best}'s, "
        f"{quantity(lowest, _unit(errors, feature))}"
        f", {against} ({number(reference)})"
    )
    if equal:
        sentence += f"; {listed(equal)} {'is' if len(equal) == 1 else 'are'} practically equal"
    if worst not in equal and worst != best:
        sentence += f"; the highest is {worst}'s, {number(maes[worst])}"
    return f"{sentence}."
