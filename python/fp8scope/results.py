"""Result files of fp8scope (schema fp8stats) as pandas data frames and xarray cubes."""
import h5py
import numpy as np
from h5py import h5, h5p

# Columns that number the rows of a lookup table, and what they become in a frame.
IDS = {"tensor_id": ("tensor", "tensor"), "recipe_id": ("recipe", "recipe"), "gemm_id": ("gemm", "gemm"),
       "accumulator_id": ("accumulator", "accumulator"), "a_tensor_id": ("tensor", "a"),
       "b_tensor_id": ("tensor", "b")}


class Results:
    """The tables of one result file.

    attrs    {name: value} of the file: recipes, version, commit
    units    {(table, column): unit}
    frame(name)   a table as a data frame, ids replaced by names
    cube(column)  one statistic as an xarray.DataArray [tensor, recipe, gemm, step]
    """

    def __init__(self, path):
        """Reads every table. Throws OSError if there is no such file, ValueError if it is no result file."""
        self.path, self.units, self._tables = str(path), {}, {}
        open(path, "rb").close()  # the system's words are clearer than HDF5's
        with h5py.File(path, "r") as f:
            if f.attrs.get("schema") != "fp8stats":
                raise ValueError(f"{path}: its attribute 'schema' is {f.attrs.get('schema')!r}, not 'fp8stats'; "
                                 "is it a result of fp8scope replay or sweep?")
            self.attrs = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in f.attrs.items()}
            self._take_group(f, "")

    def _take_group(self, group, path):
        for name in _names(group):
            item = group.get(name, getlink=True)
            if not isinstance(item, h5py.HardLink):
                continue  # a link may lead to another file
            item = group[name]
            if isinstance(item, h5py.Group):
                self._take_group(item, f"{path}{name}/")
            else:
                values = item.asstr()[...] if h5py.check_string_dtype(item.dtype) else item[...]
                self._tables.setdefault(path[:-1], {})[name] = values
                self.units[path[:-1], name] = item.attrs.get("units", "1")

    def tables(self):
        """Names of the tables: "results", "gemm", "hist", "lookup/recipe", ..."""
        return list(self._tables)

    def columns(self, table):
        """{column: array} as stored. Throws KeyError naming the tables there are."""
        if table not in self._tables:
            raise KeyError(f"{self.path} has no table '{table}'; it has: {', '.join(self._tables)}")
        return self._tables[table]

    def names(self, lookup):
        """[rows] names of lookup/<lookup>; empty if the file has no such table."""
        return self._tables.get(f"lookup/{lookup}", {}).get("name", np.array([], object))

    def frame(self, table="results"):
        """A table as a pandas.DataFrame: ids become names (categories), tensors also layer and operand.
        A column with a second axis, a histogram, becomes one column per bin."""
        import pandas as pd

        stored, out = self.columns(table), {}
        rows = len(stored["row"]) if "row" in stored else None
        axes = {len(v): (k, v) for k, v in stored.items() if v.ndim == 1 and len(v) != rows}
        for column, values in stored.items():
            if column == "row" or (rows is not None and len(values) != rows):
                continue
            if column in IDS:
                lookup, name = IDS[column]
                labels = self.names(lookup)
                out[name] = pd.Categorical.from_codes(values, _distinct(labels))
                if column == "tensor_id":
                    out["layer"] = pd.Categorical(np.array([n.rpartition("/")[0] for n in labels])[values])
                    out["operand"] = pd.Categorical(np.array([n.rpartition("/")[2] for n in labels])[values])
            elif values.ndim == 2:
                label, bins = axes.get(values.shape[1], ("bin", np.arange(values.shape[1])))
                for i, bin_value in enumerate(bins):
                    out[f"{column}[{label}={bin_value}]"] = values[:, i]
            else:
                out[column] = values
        return pd.DataFrame(out)

    def cube(self, column):
        """One statistic of every cast as an xarray.DataArray [tensor, recipe, gemm, step]; NaN where there is
        no such cast."""
        import xarray as xr

        t = self.columns("results")
        if column not in t or t[column].ndim != 1:
            raise KeyError(f"no statistic '{column}'; there are: {', '.join(k for k in t if t[k].ndim == 1)}")
        steps, step = np.unique(t["step"], return_inverse=True)
        coords = {"tensor": self.names("tensor"), "recipe": self.names("recipe"), "gemm": self.names("gemm"),
                  "step": steps}
        data = np.full([len(c) for c in coords.values()], np.nan)
        data[t["tensor_id"], t["recipe_id"], t["gemm_id"], step] = t[column]
        return xr.DataArray(data, coords, list(coords), name=column,
                            attrs={"units": self.units["results", column]})


def _names(group):
    """Names in a group, in the order written, which h5py's own iteration forgets."""
    if not group.id.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_INDEXED:
        return list(group)  # another program wrote it
    names = []
    group.id.links.iterate(lambda name: names.append(name.decode()), idx_type=h5.INDEX_CRT_ORDER)
    return names


def _distinct(labels):
    """Category names must differ; two recipes may be spelt alike in different points of a sweep."""
    seen, out = {}, []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        out.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return out


def load(path):
    """The result file at `path`, as Results. Throws OSError, ValueError."""
    return Results(path)
