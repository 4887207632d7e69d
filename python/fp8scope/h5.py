"""HDF5 objects whose bytes depend on their content alone: no times, links and attributes in the order written."""
import os

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5p, h5s, h5t

_ORDER = h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED


def bf16_type():
    """bfloat16 as a little-endian HDF5 float type; readers without it convert to float32."""
    t = h5t.IEEE_F16LE.copy()
    t.set_fields(15, 7, 8, 0, 7)
    t.set_size(2)
    t.set_ebias(127)
    return t


def _plain(plist):
    plist.set_obj_track_times(False)
    plist.set_attr_creation_order(_ORDER)
    return plist


def create_file(path):
    """A new file at `path`, readable by HDF5 1.8.  Returns an h5py.File."""
    fcpl, fapl = _plain(h5p.create(h5p.FILE_CREATE)), h5p.create(h5p.FILE_ACCESS)
    fcpl.set_link_creation_order(_ORDER)
    fapl.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_V110)
    fapl.set_fclose_degree(h5f.CLOSE_STRONG)
    return h5py.File(h5f.create(os.fsencode(path), h5f.ACC_TRUNC, fcpl, fapl))


def create_group(parent, name, /, **attrs):
    gcpl = _plain(h5p.create(h5p.GROUP_CREATE))
    gcpl.set_link_creation_order(_ORDER)
    group = h5py.Group(h5g.create(parent.id, name.encode(), gcpl=gcpl))
    set_attrs(group, attrs)
    return group


def set_attrs(obj, attrs):
    """Strings become scalar variable-length UTF-8, lists of strings 1-D ones, numbers scalars."""
    for key, value in attrs.items():
        obj.attrs[key] = np.array(value, h5py.string_dtype()) if isinstance(value, list) else value


def create_dataset(group, name, data, dims, /, chunk=None, bf16=False, deflate=9, **attrs):
    """Write `data` (uint16 bits when bf16) with one dimension scale per axis; `dims` = [] makes
    the dataset itself a scale. With `chunk`: shuffle + deflate + fletcher32."""
    kind = bf16_type() if bf16 else h5t.py_create(data.dtype, logical=True)
    dataset = _create(group, name, kind, h5s.create_simple(data.shape), chunk, deflate)
    if bf16:
        write_bits(dataset, data)
    else:
        dataset[...] = data
    finish_dataset(dataset, dims, attrs)
    return dataset


def create_growing(group, name, kind, row_shape, /, chunk, deflate=1):
    """An empty dataset [0, *row_shape] that grows along its first axis."""
    space = h5s.create_simple((0, *row_shape), (h5s.UNLIMITED, *row_shape))
    return _create(group, name, kind, space, chunk, deflate)


def append_bits(dataset, data):
    """Appends `data`, whose elements have the size of the dataset's, bit for bit."""
    n = dataset.shape[0]
    dataset.resize(n + 1, axis=0)
    space = dataset.id.get_space()
    space.select_hyperslab((n, *(0,) * data.ndim), (1, *data.shape))
    memory = h5s.create_simple((1, *data.shape))
    dataset.id.write(memory, space, np.ascontiguousarray(data), dataset.id.get_type())


def write_bits(dataset, data):
    """Memory type = file type: HDF5 copies the bits. Its own conversion rounds ties up."""
    dataset.id.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(data, "<u2"), dataset.id.get_type())


def finish_dataset(dataset, dims, attrs):
    """Attaches one scale per axis, all or none: netCDF readers refuse a file with only some."""
    for axis, scale in zip(dataset.dims, dims):
        axis.attach_scale(scale)
    if not dims:
        dataset.make_scale("step" if dataset.name == "/steps" else dataset.name.rsplit("/", 1)[1])
    set_attrs(dataset, attrs)


def _create(group, name, kind, space, chunk, deflate):
    dcpl = _plain(h5p.create(h5p.DATASET_CREATE))
    if chunk:
        dcpl.set_chunk(chunk)
        if deflate:
            dcpl.set_shuffle()
            dcpl.set_deflate(deflate)
        dcpl.set_fletcher32()
    return h5py.Dataset(h5d.create(group.id, name.encode(), kind, space, dcpl))
