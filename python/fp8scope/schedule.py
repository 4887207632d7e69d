"""What to record and when: the vocabulary of nvidia-dlframework-inspect's configuration files.

    section_name:
      enabled: true
      layers:
        layer_name_regex_pattern: '.*(q_proj|down_proj)'   # matched against the whole name
        layer_types: [fc1, qkv]                            # or: names that contain one of these
      fp8scope:                                            # or transformer_engine: DumpTensors:
        RecordTrace:
          enabled: true
          tensors: [activation, weight, gradient]
          freq: 10
          start_step: 100
          end_step: 200          # start_end_list: [[0, 20], [100, 120]] in place of both
          rows: 128              # at most so many rows of x and dy; all unless given
          row_sampling: stride   # first (default) or stride
"""
import dataclasses
import difflib
import re

TENSORS = {"activation": "x", "weight": "w", "gradient": "dy"}
FEATURES = (("fp8scope", "RecordTrace"), ("transformer_engine", "DumpTensors"))


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: the layers it takes, the operands of each, the steps, the rows."""
    name: str
    pattern: object           # compiled, or None
    types: tuple              # parts of names, or ()
    operands: tuple           # of "x", "w", "dy"
    freq: int = 1
    spans: tuple = ((0, None),)  # [first, last), None: no end
    rows: int = 0             # 0: all
    row_sampling: str = "first"

    def takes_layer(self, name):
        if self.pattern is not None and self.pattern.fullmatch(name):
            return True
        return any(part in name for part in self.types)

    def takes_step(self, step):
        return any(first <= step and (last is None or step < last) and (step - first) % self.freq == 0
                   for first, last in self.spans)


def parse(config):
    """[Section] of a configuration {name: ...}; sections that are not enabled are left out.
    Throws ValueError naming the section and key."""
    if not isinstance(config, dict) or not config:
        raise ValueError("the configuration holds no section; see fp8scope.schedule")
    sections = [_section(name, body) for name, body in config.items()
                if _mapping(body, name).get("enabled", True)]
    return [s for s in sections if s is not None]


def _section(name, body):
    _only(name, body, ["enabled", "layers", *{package for package, _ in FEATURES}])
    feature = None
    for package, key in FEATURES:
        for found, value in _mapping(body.get(package, {}), f"{name}.{package}").items():
            if found == key and value.get("enabled", True):
                feature, where = value, f"{name}.{package}.{key}"
    if feature is None:
        return None
    layers = _mapping(body.get("layers"), f"{name}.layers")
    _only(f"{name}.layers", layers, ["layer_name_regex_pattern", "layer_types"])
    if not layers:
        raise ValueError(f"{name}.layers: give layer_name_regex_pattern or layer_types")
    _only(where, feature, ["enabled", "tensors", "tensors_struct", "freq", "start_step", "end_step",
                           "start_end_list", "rows", "row_sampling", "high_precision_tensor", "quantized_tensor"])
    try:
        pattern = layers.get("layer_name_regex_pattern")
        pattern = re.compile(pattern) if pattern is not None else None
    except re.error as error:
        raise ValueError(f"{name}.layers.layer_name_regex_pattern: {error}") from None
    return Section(name, pattern, tuple(layers.get("layer_types", ())), _operands(where, feature),
                   _number(where, feature, "freq", 1, 1), _spans(where, feature),
                   _number(where, feature, "rows", 0, 0), _sampling(where, feature))


def _operands(where, feature):
    names = feature.get("tensors", ["activation"])
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in TENSORS:
            raise ValueError(f"{where}.tensors: '{name}'; known: {', '.join(TENSORS)}")
    return tuple(TENSORS[name] for name in names)


def _spans(where, feature):
    if "start_end_list" in feature:
        spans = tuple((int(a), int(b)) for a, b in feature["start_end_list"])
    else:
        end = feature.get("end_step")
        spans = ((_number(where, feature, "start_step", 0, 0), None if end is None else int(end)),)
    for first, last in spans:
        if last is not None and last <= first:
            raise ValueError(f"{where}: steps {first} to {last} are none; the end is not included")
    return spans


def _sampling(where, feature):
    sampling = feature.get("row_sampling", "first")
    if sampling not in ("first", "stride"):
        raise ValueError(f"{where}.row_sampling: '{sampling}'; known: first, stride")
    return sampling


def _number(where, feature, key, default, least):
    value = feature.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{where}.{key}: {value!r}; wanted a whole number from {least}")
    return value


def _mapping(body, where):
    if not isinstance(body, dict):
        raise ValueError(f"{where}: wanted 'key: value' lines")
    return body


def _only(where, body, known):
    for key in body:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ValueError(f"{where}: unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else
                             f"; known: {', '.join(known)}"))
