""".mat of versions 5 and 7.3: arrays, labels, and what is refused."""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from filled import filled_by, labels_of
from labelled_data import holed, shapes
from rankless import io
from rankless.tensors.observations import Observations


def save_73(path: Path, **arrays) -> None:
    """What MATLAB writes by save -v7.3, as its documentation of the format has it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if isinstance(array, list):
                cells = [
                    file.create_dataset(f"#refs#/{name}{n}", data=np.array([[ord(c)] for c in text], np.uint16))
                    for n, text in enumerate(array)
                ]
                for cell in cells:
                    cell.attrs["MATLAB_class"] = np.bytes_("char")
                stored = file.create_dataset(name, data=np.array([[cell.ref for cell in cells]], dtype=h5py.ref_dtype))
                stored.attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                stored = file.create_dataset(name, data=np.asarray(array).T)
                stored.attrs["MATLAB_class"] = np.bytes_({"f8": "double", "f4": "single", "i2": "int16"}[np.asarray(array).dtype.str[1:]])
    with open(path, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def save_5(path: Path, **arrays) -> None:
    savemat(path, {name: np.array(array, object) if isinstance(array, list) else array for name, array in arrays.items()})


VERSIONS = [pytest.param(save_5, id="5"), pytest.param(save_73, id="7.3")]


@given(shapes.flatmap(lambda shape: holed(shape, [np.float32, np.float64])), st.sampled_from([save_5, save_73]))
def test_an_array_is_read_in_its_dtype(array, save):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        save(path, tensor=array)
        obs = io.read(path)
    assert obs.values.dtype == array.dtype
    np.testing.assert_array_equal(filled_by(obs, lambda indices: np.full(len(indices), np.nan)).array(), array)


@given(shapes.flatmap(lambda shape: holed(shape, [np.float32, np.float64])))
def test_what_is_written_is_read_back(array):
    labels = [np.array([f"é{i}" for i in range(array.shape[0])]), np.arange(array.shape[1]) + 5, *[None] * (array.ndim - 2)]
    modes = ["site", "year", "not a name"][: array.ndim]
    done = filled_by(Observations.from_array(array, modes=modes, labels=labels))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        io.write(path, done)
        assert [p.name for p in Path(folder).iterdir()] == ["a.mat"]
        again = io.read(path, modes=modes)
        observed = loadmat(path)["observed"]
    assert again.values.dtype == array.dtype
    np.testing.assert_array_equal(again.values.reshape(array.shape), done.filled)
    np.testing.assert_array_equal(observed.reshape(array.shape), np.isfinite(array))
    assert labels_of(again, 0) == labels[0].tolist()
    assert labels_of(again, 1) == labels[1].tolist()


@pytest.mark.parametrize("save", VERSIONS)
def test_labels_are_vectors_and_cells_named_like_the_modes(tmp_path, save):
    save(
        tmp_path / "t.mat",
        X=np.array([[[1.0, np.nan]] * 3] * 2),
        site=["north", "s"],
        hour=np.array([[6.0, 7.0, 8.0]]),
        day=np.ones((1, 5)),
    )
    obs = io.read(tmp_path / "t.mat", modes=["site", "hour", "day"])
    assert obs.shape == (2, 3, 2)
    assert labels_of(obs, 0) == ["north", "s"]
    assert labels_of(obs, 1) == [6.0, 7.0, 8.0]
    assert obs.labels[2] is None, "of another length"


@pytest.mark.parametrize("save", VERSIONS)
def test_which_array(tmp_path, save):
    path = tmp_path / "t.mat"
    save(path, a=np.ones((2, 2)), b=np.ones((3, 3)), words=["x", "y"], v=np.ones((1, 4)))
    assert io.read(path, value="b").shape == (3, 3)
    with pytest.raises(ValueError, match=r"t\.mat holds .*'b' \(3 x 3 double\).*; say which to fill, for example value='a' \(--value a\)"):
        io.read(path)
    with pytest.raises(ValueError, match=r"no array 'c' in .*t\.mat; it holds 'a' \(2 x 2 double\)"):
        io.read(path, value="c")
    with pytest.raises(ValueError, match=r"'words' of .*t\.mat is no array of numbers"):
        io.read(path, value="words")


def test_of_a_sparse_matrix_it_must_be_said_what_absent_means(tmp_path):
    path = tmp_path / "t.mat"
    savemat(path, {"ratings": scipy.sparse.csc_array(([1.0, 5.0], ([0, 1], [1, 0])), shape=(2, 2))})
    with pytest.raises(ValueError, match=r"t\.mat: .* missing is not zero: pass absent='missing' \(--absent missing\)"):
        io.read(path)
    assert io.read(path, absent="missing").values.tolist() == [1.0, 5.0]


def test_a_sparse_matrix_of_version_73_has_a_mend(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "t.mat"
    save_73(path, other=np.ones((1, 3)))
    with h5py.File(path, "r+") as file:
        group = file.create_group("ratings")
        group.attrs["MATLAB_sparse"] = np.uint64(2)
        group.attrs["MATLAB_class"] = np.bytes_("double")
    with pytest.raises(ValueError, match=r"'ratings' of .*t\.mat is a sparse matrix of a version 7\.3 file; save it with"):
        io.read(path, value="ratings")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("save", VERSIONS)
@pytest.mark.parametrize(
    "damage", [_cut, lambda path: path.write_bytes(b""), lambda path: path.write_text("hello " * 40)], ids=["cut short", "empty", "text"]
)
def test_a_broken_file_is_named(tmp_path, save, damage):
    path = tmp_path / "t.mat"
    save(path, X=np.random.default_rng(0).normal(size=(9, 8)))
    damage(path)
    with pytest.raises(ValueError, match=r"t\.mat is cut short or is no \.mat file") as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["numbers", "a label", "a size"])
@pytest.mark.parametrize("packed", [False, True])
def test_numbers_of_a_type_that_there_is_none_of_do_not_crash(tmp_path, where, packed):
    """SciPy looks the type up past the end of its table."""
    path = tmp_path / "t.mat"
    savemat(path, {"X": np.arange(6.5, 12.5).reshape(3, 2), "a": np.array(["p", "q", "r"], object)})
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<II", 9, 48), 128) if where == "numbers" else content.index(b"\x10\x00\x01\x00q", 128)
    if where == "a size":  # of a name: what is read next is anything
        at = content.rindex(struct.pack("<II", 1, 0), 128, at) + 5
    content[at] = 32 if where == "a size" else 0
    if packed:
        start = 128
        for _ in range(2):
            size = int.from_bytes(content[start + 4 : start + 8], "little") + 8
            small = zlib.compress(content[start : start + size])
            content[start : start + size] = struct.pack("<II", 15, len(small)) + small
            start += 8 + len(small)
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"t\.mat is cut short or is no \.mat file \((numbers of type 0|8192 bytes in an element of fewer)\)"
    ):
        io.read(path, modes=["a", "b"])


def test_a_sparse_matrix_whose_pointers_go_back_is_not_followed(tmp_path):
    path = tmp_path / "t.mat"
    savemat(path, {"X": scipy.sparse.csc_array(np.outer([1.0, 2.0], [3.0, 4.0]))})
    content = path.read_bytes()
    assert content.count(struct.pack("<III", 0, 2, 4)) == 1
    path.write_bytes(content.replace(struct.pack("<III", 0, 2, 4), struct.pack("<III", 0, 70, 0)))
    with pytest.raises(ValueError, match=r"columns of a sparse matrix that end before they begin"):
        io.read(path, absent="missing")


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_no_imaginary_part_is_left_out_in_silence(tmp_path, dtype):
    savemat(tmp_path / "t.mat", {"tensor": np.ones((3, 2), dtype) * 1j})
    with pytest.raises(ValueError, match=r"t\.mat: the array is complex; pass real numbers"):
        io.read(tmp_path / "t.mat")


def test_without_h5py_the_mend_of_a_73_file_is_named(tmp_path, monkeypatch):
    import importlib.util

    save_73(tmp_path / "t.mat", X=np.ones((2, 2)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs h5py, which is not installed; run: pip install 'rankless\[labelled\]'"):
        io.read(tmp_path / "t.mat")


def test_what_version_5_cannot_hold_is_refused(tmp_path, monkeypatch):
    from scipy.io.matlab import MatWriteError

    def too_large(*_, **__):
        raise MatWriteError("Matrix too large to save with Matlab 5 format")

    monkeypatch.setattr("scipy.io.savemat", too_large)
    with pytest.raises(ValueError, match=r"cannot write .*t\.mat.*too large.*choose \.nc, \.npz or \.zarr"):
        io.write(tmp_path / "t.mat", filled_by(np.ones((2, 2))))
    assert list(tmp_path.iterdir()) == []
