"""A strict parser of Prometheus' text format 0.0.4: it takes what we may print and nothing else."""

import re

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
SAMPLE = re.compile(r"([a-z][a-z0-9_]*)(?:\{([^{}]*)\})? ([0-9]+(?:\.[0-9]+)?)\Z")
LABEL = re.compile(r'([a-z][a-z0-9_]*)="([a-z0-9_.]+|\+Inf)"\Z')
# Behind the name of a histogram.
PARTS = ("_bucket", "_sum", "_count")


class Metric:
    def __init__(self, help_text):
        self.help = help_text
        self.type = None
        self.samples = {}


def parse_labels(text):
    labels = []
    for part in text.split(",") if text else []:
        match = LABEL.match(part)
        assert match, f"a bad label: {part!r}"
        labels.append(match.groups())
    assert len(dict(labels)) == len(labels), f"a label twice: {text!r}"
    return tuple(sorted(labels))


def parse_help(line, metrics):
    word, name, help_text = line[2:].split(" ", 2)
    assert word == "HELP" and NAME.match(name), line
    assert name not in metrics, f"{name} stands in two places"
    assert help_text and help_text == help_text.strip(), f"{name} has no help"
    metrics[name] = Metric(help_text)
    return name


def parse_type(line, current, metrics):
    word, name, kind = line[2:].split(" ")
    assert word == "TYPE" and name == current and metrics[name].type is None, line
    assert kind in ("counter", "gauge", "histogram"), line
    assert name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}"
    metrics[name].type = kind


def parse_sample(line, current, metrics):
    match = SAMPLE.match(line)
    assert match, f"no sample: {line!r}"
    name, labels, value = match.groups()
    part = name.removeprefix(current) if metrics[current].type == "histogram" else ""
    assert name == current + part, f"{name} stands under {current}"
    assert (part in PARTS) == (metrics[current].type == "histogram"), line
    metric = metrics[current]
    assert metric.type, f"{name} has no TYPE"
    key = parse_labels(labels) + ((("", part),) if part else ())
    assert key not in metric.samples, f"{line!r} twice"
    metric.samples[key] = float(value) if "." in value else int(value)


def parse(text):
    """{name: Metric} in the order of the text: HELP, TYPE, samples; a metric in one place."""
    metrics = {}
    current = None
    assert text.endswith("\n") and "\r" not in text
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current = parse_help(line, metrics)
        elif line.startswith("# TYPE "):
            parse_type(line, current, metrics)
        else:
            parse_sample(line, current, metrics)
    for name, metric in metrics.items():
        assert metric.type, f"{name} has no TYPE"
    return metrics


class Histogram:
    """One of a metric's: its buckets as {upper bound: how many up to it}."""

    def __init__(self, metric, **labels):
        wanted = set(labels.items())
        self.buckets = {}
        for labels_of, number in metric.samples.items():
            found = dict(labels_of)
            part, bound = found.pop(""), found.pop("le", None)
            if set(found.items()) != wanted:
                continue
            if part == "_bucket":
                self.buckets[float(bound)] = number
            elif part == "_sum":
                self.sum = number
            else:
                self.count = number
        bounds, counts = list(self.buckets), list(self.buckets.values())
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == self.count


def value(metrics, name, **labels):
    return metrics[name].samples[tuple(sorted(labels.items()))]
