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
from vd_forecasting.language import closed_up, filled_in, marked, say, say_many
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.rendering.markdown import bold, feature_list, feature_text, plain_text
from vd_forecasting.vocabulary import EVERY_MODE, MODELS, name_of
from vd_forecasting.wording import (
    PRACTICALLY_EQUAL,
    ahead_ranges,
    change,
    compared,
    count,
    is_better,
    is_number,
    is_worse,
    lead_time,
    level,
    listed,
    number,
    percent,
    plural,
    quantity,
    span,
)

_EVERYWHERE = marked("at every horizon")


def against_persistence(errors: Errors, model: str) -> str:
    """Headline of one experiment: where it beats persistence and where not."""
    name, maes = name_of(model), {f: with_persistence(errors, model, f) for f in errors.features}
    scored = [feature for feature, (own, _) in maes.items() if is_number(own)]
    unscored = {f: why_undefined(errors, f) for f in errors.features if f not in scored}
    if not scored:
        why = listed(dict.fromkeys(unscored.values()))
        return say("**{name} could not be scored**: {why}.", name=name, why=why)
    beaten = [feature for feature in scored if is_better(*maes[feature])]
    others = [feature for feature in scored if feature not in beaten]
    if beaten and others:
        claim = say(
            "{name} beats persistence on {features}, but not on {others}",
            name=name,
            features=feature_list(beaten),
            others=feature_list(others),
        )
    elif beaten:
        where = say("every scored target feature") if unscored else say("every target feature")
        where = where if len(scored) > 1 else feature_text(scored[0])
        claim = say("{name} beats persistence on {features}", name=name, features=where)
    elif any(is_worse(*maes[feature]) for feature in scored):
        claim = _bold(say("{name} does not beat persistence", name=name), errors)
        headline = _unless_unsure(say("{claim} on any target feature", claim=claim), errors)
    else:
        claim = say("{name} is practically equal to persistence", name=name)
    if beaten or not any(is_worse(*maes[feature]) for feature in scored):
        averaged = say("{claim}, averaged over all horizons", claim=_bold(claim, errors))
        headline = _unless_unsure(averaged, errors)
    return _in_a_row(
        headline,
        *(
            say("{feature} could not be scored: {why}.", feature=feature_text(feature), why=why)
            for feature, why in unscored.items()
        ),
    )


def _in_a_row(*sentences: str) -> str:
    return closed_up(" ".join(sentences))


def _bold(claim: str, errors: Errors) -> str:
    """A claim that one model is better; not bold where the test days are too few."""
    return bold(claim) if errors.most_days >= MIN_DAYS else claim


def _unless_unsure(claim: str, errors: Errors) -> str:
    """A sentence that makes such a claim, and takes it back where the test days are too few."""
    if errors.most_days >= MIN_DAYS:
        return say("{claim}.", claim=claim)
    return say_many(
        "{claim}, but {days} is too few for a verdict.",
        "{claim}, but {days} are too few for a verdict.",
        errors.most_days,
        claim=claim,
        days=plural(errors.most_days, "test day"),
    )


def persistence_details(errors: Errors, model: str) -> list[str]:
    """One sentence per feature: the error beside persistence's, and the horizons where it loses."""
    details = []
    for feature in errors.features:
        own, reference = with_persistence(errors, model, feature)
        if not is_number(own):
            details.append(_not_scored(errors, feature))
            continue
        sentence = say(
            "{feature}: MAE {error}, {compared} ({reference}), averaged over horizons",
            feature=feature_text(feature),
            error=quantity(own, _unit(errors, feature)),
            compared=compared(own, reference, say("persistence's")),
            reference=number(reference),
        )
        losing = _where_losing(errors, model, feature, "persistence")
        if losing == say(_EVERYWHERE):
            details.append(
                say("{claim}; at every horizon persistence has the lower error.", claim=sentence)
            )
        elif losing:
            details.append(
                say(
                    "{claim}; persistence has the lower error {where}.",
                    claim=sentence,
                    where=losing,
                )
            )
        else:
            details.append(say("{claim}.", claim=sentence))
    return details


def _not_scored(errors: Errors, feature: str) -> str:
    why = why_undefined(errors, feature)
    return say("{feature}: not scored, {why}.", feature=feature_text(feature), why=why)


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
        return say("a network's forecasts are not all numbers, its training diverged")
    return say("no test value is observed")


def _where_losing(errors: Errors, network: str, feature: str, baseline: str) -> str:
    """At which horizons a baseline's MAE is lower by more than what is practically equal."""
    losing = [
        step
        for step in errors.horizons
        if is_worse(*(errors.at("mae", name, feature, step) for name in (network, baseline)))
    ]
    if len(losing) == len(errors.horizons) > 1:
        return say(_EVERYWHERE)
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
            listed(
                say("{name} in {number}", name=name_of(name), number=times) for name, times in found
            )
            for found in (network, model)
        )
        sentences.append(
            say(
                "{feature}: the better network is {network} of {blocks}; the best model is "
                "{model}.",
                feature=feature_text(feature),
                network=best,
                blocks=plural(mae.sizes["block"], "block"),
                model=lowest,
            )
        )
    return sentences


def failed_blocks(configs: Iterable[Config]) -> list[str]:
    """A sentence per test block and experiment that has no forecasts of it."""
    return [
        say(
            "{name} has no forecasts of test block {number}: {why}.",
            name=name_of(config.model),
            number=number,
            why=plain_text(why),
        )
        for config in configs
        for number, why in config.failed.items()
    ]


def baseline_wins(errors: Errors) -> list[str]:
    """A sentence per feature and baseline that beats a network somewhere."""
    wins: dict[tuple[str, str], list[str]] = {}
    for feature, baseline, network in product(errors.features, errors.baselines, errors.networks):
        where = _where_losing(errors, network, feature, baseline)
        if where != say(_EVERYWHERE) and _is_beaten(errors, network, feature, baseline):
            where = listed(filter(None, [say("averaged over horizons"), where]))
        if where:
            loser = say("{name} {where}", name=name_of(network), where=where)
            wins.setdefault((feature, baseline), []).append(loser)
    return [_baseline_beats(feature, name, listed(whom)) for (feature, name), whom in wins.items()]


def _baseline_beats(feature: str, baseline: str, whom: str) -> str:
    return say(
        "{feature}: {baseline} beats {whom}.",
        feature=feature_text(feature),
        baseline=name_of(baseline),
        whom=whom,
    )


def baseline_wins_of_modes(by_mode: Mapping[str, Errors]) -> list[str]:
    """Sentences on baselines that beat networks of any mode, averaged over horizons."""
    wins: dict[tuple[str, str], list[str]] = {}
    for mode, errors in by_mode.items():
        for model, feature, name in product(errors.networks, errors.features, errors.baselines):
            if _is_beaten(errors, model, feature, name):
                wins.setdefault((feature, name), []).append(f"{mode} {name_of(model)}")
    networks = sum(len(errors.networks) for errors in by_mode.values())
    return [
        _baseline_beats(
            feature, name, say("every network") if len(whom) == networks else listed(whom)
        )
        for (feature, name), whom in sorted(wins.items())
    ]


def _is_beaten(errors: Errors, network: str, feature: str, baseline: str) -> bool:
    return is_worse(*(errors.at("mae", name, feature) for name in (network, baseline)))


def baselines_headline(errors: Errors) -> str:
    """Which baselines beat all networks on which features, averaged over horizons; often empty."""
    return _in_a_row(*(_unless_unsure(claim, errors) for claim in _leading_baselines(errors)))


def _leading_baselines(errors: Errors) -> list[str]:
    by_baseline: dict[str, list[str]] = {}
    for feature in errors.features:
        networks = (errors.at("mae", name, feature) for name in errors.networks)
        lowest = min(filter(is_number, networks), default=math.nan)
        maes = {name: errors.at("mae", name, feature) for name in errors.baselines}
        winners = [name for name, value in maes.items() if is_better(value, lowest)]
        if winners:
            by_baseline.setdefault(min(winners, key=lambda name: maes[name]), []).append(feature)
    claims = []
    for baseline, features in by_baseline.items():
        name = name_of(baseline)
        message = say("{baseline} beats the network")
        if len(errors.networks) > 1:
            message = say("{baseline} beats both networks")
        claim = _bold(filled_in(message, baseline=f"{name[0].upper()}{name[1:]}"), errors)
        where = feature_list(features)
        claims.append(
            say("{claim} on {features}, averaged over horizons", claim=claim, features=where)
        )
    return claims


def baselines_headline_of_modes(by_mode: Mapping[str, Errors]) -> str:
    """Which baselines beat both networks on which features, and in which modes."""
    modes: dict[tuple[str, int], list[str]] = {}
    for mode, errors in by_mode.items():
        for claim in _leading_baselines(errors):
            modes.setdefault((claim, min(errors.most_days, MIN_DAYS)), []).append(mode)
    return _in_a_row(
        *(
            _unless_unsure(
                say(
                    "{claim}, in {modes}",
                    claim=claim,
                    modes=say("every mode") if len(where) == len(by_mode) else listed(where),
                ),
                by_mode[where[0]],
            )
            for (claim, _), where in modes.items()
        )
    )


def networks_headline(errors: Errors, differences: Differences) -> str:
    """Which of two networks is better on which features; better needs enough test days."""
    signs = _signs(errors, differences)
    if not signs:
        why = listed(dict.fromkeys(_why_not_compared(errors, f) for f in errors.features))
        return say("**Nothing could be compared**: {why}.", why=why)
    untested = [f for f in signs if not differences.between[f, AVERAGE].is_tested]
    tested = {feature: sign for feature, sign in signs.items() if feature not in untested}
    if not tested:
        days = _days_there_are(differences, untested)
        return say("**Too few test days for a verdict**: {days}.", days=days)
    verdict = _verdict(tested, every=not untested)
    if untested:
        days = _days_there_are(differences, untested)
        unsure = say(
            "On {features} the test days are too few for a verdict: {days}.",
            features=feature_list(untested),
            days=days,
        )
        return _in_a_row(verdict, unsure)
    return verdict


def _days_there_are(differences: Differences, features: Sequence[str]) -> str:
    days = max(differences.days[feature] for feature in features)
    return say(
        "{days} with at least half of the origins scored, it takes {number}",
        days=plural(days, "day"),
        number=MIN_DAYS,
    )


def _verdict(signs: Mapping[str, int], *, every: bool) -> str:
    """The verdict on features that are tested; ``every`` says that no other one is scored."""
    equal = [feature for feature, sign in signs.items() if sign == 0]
    wins = {
        name_of(model): [feature for feature, sign in signs.items() if sign == of_model]
        for model, of_model in zip(MODELS, (1, -1), strict=True)
    }
    first, second = wins
    better, other = sorted(wins, key=lambda name: -len(wins[name]))
    if wins[other]:
        claim = say(
            "**Neither is better throughout**: {first} on {features}, {second} on {others}",
            first=first,
            features=feature_list(wins[first]),
            second=second,
            others=feature_list(wins[second]),
        )
    elif wins[better]:
        several = every and not equal and len(signs) > 1
        claim = say(
            "**{better} forecasts better than {other}** on {features}",
            better=better,
            other=other,
            features=say("every target feature") if several else feature_list(wins[better]),
        )
    elif every:
        return say(
            "**No difference between {first} and {second} is beyond chance**, on any target "
            "feature.",
            first=first,
            second=second,
        )
    else:
        return say(
            "**No difference between {first} and {second} is beyond chance**, on {features}.",
            first=first,
            second=second,
            features=feature_list(equal),
        )
    if equal:
        alike = feature_list(equal)
        return say(
            "{claim}; no difference beyond chance on {features}.", claim=claim, features=alike
        )
    return say("{claim}.", claim=claim)


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
        return say("{name}'s error is zero", name=name_of(MODELS[0]))
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
    values: dict[str, object] = dict(
        zip(("first", "second"), map(name_of, MODELS), strict=True),
        about=say(
            "{feature}, {time} ahead",
            feature=feature_text(feature),
            time=lead_time(step * errors.interval_minutes),
        ),
    )
    if step == AVERAGE:
        values["about"] = say("{feature}, averaged over horizons", feature=feature_text(feature))
    difference = differences.between[feature, step]
    maes = [errors.at("mae", model, feature, step or None) for model in MODELS]
    if not all(map(is_number, (*maes, difference.change))):
        why = _why_not_compared(errors, feature)
        return say("{about}: not compared, {why}.", **values, why=why)
    values |= {
        "percent": percent(abs(difference.change)),
        "evidence": evidence_in_words(difference, differences.confidence),
    }
    lower = difference.change < 0
    if difference.is_tested and not decided(difference):
        if lower:
            return say(
                "{about}: no difference beyond chance; {second}'s MAE is {percent} lower than "
                "{first}'s ({evidence}).",
                **values,
            )
        return say(
            "{about}: no difference beyond chance; {second}'s MAE is {percent} higher than "
            "{first}'s ({evidence}).",
            **values,
        )
    if lower:
        return say("{about}: {second} {percent} lower MAE than {first} ({evidence}).", **values)
    return say("{about}: {second} {percent} higher MAE than {first} ({evidence}).", **values)


def evidence_in_words(difference: Difference, confidence: float) -> str:
    """``95 % interval 1.2 to 4.9 %, DM p = 0.002``; in the direction of the difference."""
    if not difference.is_tested:
        return say("no interval, the test days are too few")
    signed, ends = difference.spans_zero, [difference.low, difference.high]
    ends = ends if signed else sorted(map(abs, ends))
    low, high = (percent(end, signed=signed) for end in ends)
    return say(
        "{level} interval {low} to {high}, DM p {p}",
        level=level(confidence),
        low=low.removesuffix(say("{number} %").removeprefix("{number}")),
        high=high,
        p=p_in_words(difference.p_value),
    )


def about_confidence_set(found: Differences | AcrossModes, among: str) -> str:
    """What the marks of a table mean; ``among`` says in words which models."""
    days = plural(found.most_days, "test day")
    if found.has_set:
        return say(
            "MCS: the model confidence set{among}, those that no other model beats beyond chance "
            "({level}). A model in it may still be far from the best: over {days} that differ, "
            "even a much higher error can be chance.",
            among=among,
            level=level(found.confidence),
            days=days,
        )
    return say(
        "No model confidence set (MCS): {days} with at least half of the origins scored are too "
        "few to rule any model out; it takes {number}.",
        days=days,
        number=MIN_DAYS_OF_SET,
    )


def p_in_words(p_value: float) -> str:
    """``= 0.002``, ``< 0.001``, ``undefined``."""
    if not is_number(p_value):
        return say("undefined")
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def seed_caveat(seeds: Mapping[str, Sequence[int]]) -> str:
    """Whether the trainings of each network cover seed noise; seeds by the network's name."""
    distinct = {tuple(of_model) for of_model in seeds.values()}
    if max(map(len, distinct)) == 1:
        single = sorted({seed for of_model in distinct for seed in of_model})
        return say_many(
            "Each model was trained once (seed {seeds}). Seed noise is not covered: with another "
            "seed either model would do somewhat better or worse, by an unknown amount. "
            "`training.seeds` takes a list.",
            "Each model was trained once (seeds {seeds}). Seed noise is not covered: with another "
            "seed either model would do somewhat better or worse, by an unknown amount. "
            "`training.seeds` takes a list.",
            len(single),
            seeds=listed(map(str, single)),
        )
    counts = listed(
        say("{name} {times}", name=name, times=plural(len(of_model), "time"))
        for name, of_model in seeds.items()
    )
    trained = say("Trained with several seeds ({counts})", counts=counts)
    if len(distinct) == 1:
        [of_all] = distinct
        trained = say(
            "Each model was trained {number} times (seeds {seeds})",
            number=len(of_all),
            seeds=listed(map(str, of_all)),
        )
    return say(
        "{trained}; errors are means over them, ± their standard deviation. Tests compare the "
        "losses averaged over seeds, so they are about the average training, not the luckiest.",
        trained=trained,
    )


def cost_comparison(costs: Mapping[str, Costs]) -> str:
    """How much longer xLSTM trained than LSTM, and how their sizes compare; by model."""
    lstm, xlstm = costs["lstm"], costs["xlstm"]
    return say(
        "Cost: an epoch of xLSTM takes {epoch} times as long as one of LSTM, all training "
        "{training} times as long; it has {parameters} parameters against {others}.",
        epoch=number(xlstm.seconds_per_epoch / lstm.seconds_per_epoch),
        training=number(xlstm.seconds / lstm.seconds),
        parameters=xlstm.parameters_in_words,
        others=lstm.parameters_in_words,
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
    ends = [*dict.fromkeys(number(extreme(ratios)) for extreme in (min, max))]
    times = span(*ends) if len(ends) > 1 else ends[0]
    return [say("Cost: an epoch of xLSTM takes {times} times as long as one of LSTM.", times=times)]


def cut_short(costs: Mapping[str, Costs]) -> list[str]:
    """A sentence per model whose training divergence or the limit of epochs cut short."""
    diverged = [
        say(
            "{name} diverged in training; the best epoch before is used. A lower learning rate "
            "may help.",
            name=name_of(model),
        )
        if len(cost.fits) == 1
        else say(
            "{name} diverged in training ({number} of {all} trainings); the best epoch before is "
            "used. A lower learning rate may help.",
            name=name_of(model),
            number=count(cost.diverged),
            all=count(len(cost.fits)),
        )
        for model, cost in costs.items()
        if cost.diverged
    ]
    return diverged + [
        say(
            "{name} was still improving when the limit of epochs ended training; more epochs may "
            "help.",
            name=name_of(model),
        )
        if len(cost.fits) == 1
        else say(
            "{name} was still improving when the limit of epochs ended training (in {number} of "
            "{all} trainings); more epochs may help.",
            name=name_of(model),
            number=count(cost.still_improving),
            all=count(len(cost.fits)),
        )
        for model, cost in costs.items()
        if cost.still_improving
    ]


def difference_details_of_modes(
    by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]
) -> list[str]:
    """Per mode and feature the networks' difference, averaged over horizons."""
    return [
        say(
            "{mode}, {sentence}",
            mode=mode,
            sentence=difference_sentence(errors, differences[mode], feature, AVERAGE),
        )
        for mode, errors in _distinct(_with_both_networks(by_mode)).items()
        for feature in errors.features
    ]


def tally(by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]) -> str:
    """In how many pairs of mode and feature which network is better."""
    by_mode = _with_both_networks(by_mode)
    if not by_mode:
        return say("**LSTM and xLSTM cannot be compared**: no mode has both.")
    signs = [
        sign
        for mode, errors in _distinct(by_mode).items()
        for sign in _signs(errors, differences[mode]).values()
    ]
    if not signs:
        return say("**Nothing could be compared**: no common target value is observed.")
    tested = any(of_mode.is_tested for of_mode in differences.values())
    return _in_a_row(
        _tally(signs, tested=tested),
        *(
            say(
                "{mode} came out identical to {earlier} and is counted once: where both train a "
                "model on the same detector alone with the same settings, they are the same "
                "experiment.",
                mode=mode,
                earlier=earlier,
            )
            for mode, earlier in identical_modes(by_mode).items()
        ),
    )


def _tally(signs: Sequence[int], *, tested: bool) -> str:
    """The same of the pairs that are counted, by :func:`decided`."""
    wins, equal = {"LSTM": signs.count(1), "xLSTM": signs.count(-1)}, signs.count(0)
    better, other = sorted(wins, key=lambda name: -wins[name])
    pairs = plural(len(signs), "pair")
    if not tested:
        text = say(
            "**Too few test days for a verdict**: of {pairs} of mode and feature, LSTM has the "
            "lower MAE in {lstm}, xLSTM in {xlstm}",
            pairs=pairs,
            lstm=wins["LSTM"],
            xlstm=wins["xLSTM"],
        )
        if not equal:
            return say("{claim}.", claim=text)
        return say("{claim}; in {number} they are practically equal.", claim=text, number=equal)
    if equal == len(signs):
        return say(
            "**No difference between LSTM and xLSTM is beyond chance**, in {pairs} of mode and "
            "feature.",
            pairs=pairs,
        )
    if wins[better] == wins[other]:
        text = say(
            "**LSTM and xLSTM are even**: of {pairs} of mode and feature, each has the lower MAE "
            "beyond chance in {number}",
            pairs=pairs,
            number=wins[better],
        )
    else:
        text = say(
            "**{better} has the lower MAE beyond chance in {number} of {pairs} of mode and "
            "feature**, {other} in {others}",
            better=better,
            number=wins[better],
            pairs=pairs,
            other=other,
            others=wins[other],
        )
    if not equal:
        return say("{claim}.", claim=text)
    return say("{claim}; in {number} no difference is beyond chance.", claim=text, number=equal)


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
        f"{mode} {name_of(model)}": of_mode.at("mae", model, feature)
        for mode, of_mode in _distinct(by_mode).items()
        for model in of_mode.networks
        if feature in of_mode.features
    }
    maes = {name: value for name, value in maes.items() if is_number(value)}
    if not maes:
        return _not_scored(errors, feature)
    reference = errors.at("mae", "persistence", feature)
    best, worst = (choose(maes, key=lambda name: maes[name]) for choose in (min, max))
    lowest = maes[best]
    equal = [
        name
        for name, value in maes.items()
        if name != best and change(value, lowest) < PRACTICALLY_EQUAL
    ]
    against = compared(lowest, reference, say("persistence's"))
    if is_worse(lowest, reference):
        against = say("yet persistence's is lower")
    sentence = say(
        "{feature}: the lowest MAE is {name}'s, {error}, {against} ({reference})",
        feature=feature_text(feature),
        name=best,
        error=quantity(lowest, _unit(errors, feature)),
        against=against,
        reference=number(reference),
    )
    if equal:
        sentence = say_many(
            "{claim}; {names} is practically equal",
            "{claim}; {names} are practically equal",
            len(equal),
            claim=sentence,
            names=listed(equal),
        )
    if worst not in equal and worst != best:
        sentence = say(
            "{claim}; the highest is {name}'s, {error}",
            claim=sentence,
            name=worst,
            error=number(maes[worst]),
        )
    return say("{claim}.", claim=sentence)
