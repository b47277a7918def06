"""Loading digits: what sound files give, and that a damaged one is always a ValueError."""

import errno
import gzip
import os
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerodl_c.datasets import load_digits, load_idx, load_mnist

SPELLINGS = ["{}-{}-{}-ubyte", "{}-{}.{}-ubyte", "{}-{}-{}-ubyte.gz", "{}-{}.{}-ubyte.gz"]


def idx_bytes(array, type_code=0x08):
    """An array of bytes in the IDX format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, type_code, array.ndim]) + sizes + array.tobytes()


def write(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def sample(count, seed=0, shape=(3, 4)):
    """Random images, and labels of which the first are 0 to 9."""
    rng = np.random.RandomState(seed)
    images = rng.randint(0, 256, (count, *shape), dtype=np.uint8)
    return images, (np.arange(count) % 10).astype(np.uint8)


def write_pair(folder, prefix, images, labels, spelling=SPELLINGS[0]):
    """Write both files of a pair; return their paths."""
    paths = (
        folder / spelling.format(prefix, "images", "idx3"),
        folder / spelling.format(prefix, "labels", "idx1"),
    )
    for path, array in zip(paths, (images, labels), strict=True):
        write(path, idx_bytes(array))
    return paths


def rows(x):
    """The rows in an order of their own, to compare sets of images."""
    return sorted(map(tuple, x.tolist()))


class TestDigits:
    def test_shapes_and_ranges(self):
        digits = load_digits()
        assert digits.name == "digits"
        assert digits.x_train.shape == (1437, 64) and digits.x_test.shape == (360, 64)
        assert digits.t_train.shape == (1437,) and digits.t_test.shape == (360,)
        assert digits.x_train.dtype == digits.x_test.dtype == np.float64
        assert digits.t_train.dtype == digits.t_test.dtype == np.int64
        assert digits.x_train.min() == 0 and digits.x_train.max() == 1
        assert set(digits.t_train) == set(digits.t_test) == set(range(10))

    def test_images_keep_their_labels_and_each_is_in_one_part(self):
        from sklearn import datasets

        pixels, labels = datasets.load_digits(return_X_y=True)
        digits = load_digits()
        x = np.concatenate([digits.x_train, digits.x_test]) * 16
        t = np.concatenate([digits.t_train, digits.t_test])
        assert rows(np.column_stack([x, t])) == rows(np.column_stack([pixels, labels]))

    def test_split_is_the_same_each_time_and_leaves_the_global_stream_alone(self):
        np.random.seed(3)
        expected = np.random.random()
        np.random.seed(3)
        first = load_digits()
        assert np.random.random() == expected
        second = load_digits()
        for a, b in zip(first[1:], second[1:], strict=True):
            np.testing.assert_array_equal(a, b)

    def test_missing_scikit_learn_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn", None)
        with pytest.raises(ModuleNotFoundError, match=r"sklearn.*pip install 'zerodl_c\[demo\]'"):
            load_digits()


class TestMnist:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_both_pairs(self, tmp_path, spelling):
        train, t_train = sample(30, seed=1)
        test, t_test = sample(20, seed=2)
        write_pair(tmp_path, "train", train, t_train, spelling)
        write_pair(tmp_path, "t10k", test, t_test, spelling)
        data = load_mnist(str(tmp_path))
        assert data.name == tmp_path.name
        np.testing.assert_array_equal(data.x_train, train.reshape(30, 12) / 255)
        np.testing.assert_array_equal(data.x_test, test.reshape(20, 12) / 255)
        np.testing.assert_array_equal(data.t_train, t_train)
        np.testing.assert_array_equal(data.t_test, t_test)
        assert data.x_train.dtype == data.x_test.dtype == np.float64
        assert data.t_train.dtype == data.t_test.dtype == np.int64

    @pytest.mark.parametrize("prefix", ["train", "t10k"])
    def test_single_pair_is_split(self, tmp_path, prefix):
        images, labels = sample(50)
        write_pair(tmp_path, prefix, images, labels)
        data = load_mnist(tmp_path)
        assert len(data.x_train) == len(data.t_train) == 40
        assert len(data.x_test) == len(data.t_test) == 10
        x = np.concatenate([data.x_train, data.x_test]) * 255
        t = np.concatenate([data.t_train, data.t_test])
        assert rows(np.column_stack([x.round(), t])) == rows(np.column_stack([images.reshape(50, 12), labels]))
        # In file order, the test part would hold the last labels.
        assert data.t_test.tolist() != labels[40:].tolist()

    def test_plain_file_is_taken_before_a_compressed_one(self, tmp_path):
        images, labels = sample(10)
        write_pair(tmp_path, "train", images, labels)
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
        assert len(load_mnist(tmp_path).x_train) == 8

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
            load_mnist(tmp_path / "nowhere")

    def test_folder_that_is_a_circle_of_links(self, tmp_path):
        try:
            (tmp_path / "circle").symlink_to("circle")
        except OSError:
            pytest.skip("this user may not make links")
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*circle"):
            load_mnist(tmp_path / "circle")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="neither train-images-idx3-ubyte nor t10k-"):
            load_mnist(tmp_path)

    @pytest.mark.parametrize("lost", [0, 1])
    @pytest.mark.parametrize("prefix", ["train", "t10k"])
    def test_half_a_pair_is_not_passed_over(self, tmp_path, prefix, lost):
        write_pair(tmp_path, "train", *sample(10))
        paths = [
            *write_pair(tmp_path, "t10k", *sample(10)),
            *write_pair(tmp_path, "train", *sample(10)),
        ]
        path = next(p for p in paths if p.name.startswith(prefix) and ("labels" in p.name) == lost)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"lacks {path.name}"):
            load_mnist(tmp_path)

    def test_count_of_labels(self, tmp_path):
        images, labels = sample(10)
        _, path = write_pair(tmp_path, "train", images, labels[:9])
        with pytest.raises(ValueError, match=f"{path.name} holds 9 labels, .* 10 images"):
            load_mnist(tmp_path)

    def test_label_out_of_range(self, tmp_path):
        images, labels = sample(10)
        labels[3] = 10
        _, path = write_pair(tmp_path, "train", images, labels)
        with pytest.raises(ValueError, match=f"{path.name} holds the label 10, .* 0 to 9"):
            load_mnist(tmp_path)

    def test_images_and_labels_swapped(self, tmp_path):
        images, labels = sample(10)
        path, _ = write_pair(tmp_path, "train", labels, images)
        with pytest.raises(ValueError, match=f"{path.name} has the number of dimensions 1, must have 3"):
            load_mnist(tmp_path)

    def test_sizes_of_the_two_parts_differ(self, tmp_path):
        write_pair(tmp_path, "train", *sample(10))
        write_pair(tmp_path, "t10k", *sample(10, shape=(4, 4)))
        with pytest.raises(ValueError, match="are 3 x 4 pixels, the test images are 4 x 4"):
            load_mnist(tmp_path)

    def test_single_image_cannot_be_split(self, tmp_path):
        write_pair(tmp_path, "t10k", *sample(1))
        with pytest.raises(ValueError, match="single image"):
            load_mnist(tmp_path)

    def test_two_images_can_be_split(self, tmp_path):
        write_pair(tmp_path, "t10k", *sample(2))
        data = load_mnist(tmp_path)
        assert len(data.x_train) == len(data.x_test) == 1


IMAGES = idx_bytes(sample(5)[0])

DAMAGE = {
    "no bytes": (b"", "not an IDX file: its first bytes are missing"),
    "half a magic number": (IMAGES[:3], "not an IDX file: its first bytes are 00 00 08"),
    "another format": (b"\x89PNG" + IMAGES, "not an IDX file: its first bytes are 89 50 4e 47"),
    "floats": (idx_bytes(sample(5)[0], type_code=0x0D), "type 0x0d, must be unsigned bytes"),
    "labels": (idx_bytes(sample(5)[1]), "number of dimensions 1, must have 3"),
    "half a header": (IMAGES[:11], "truncated: it ends after 11 bytes, inside its header"),
    "header alone": (IMAGES[:16], "truncated: its header says 5 x 3 x 4 bytes, "),
    "last byte lost": (IMAGES[:-1], "truncated: its header says 5 x 3 x 4 bytes, "),
    "a byte too many": (
        IMAGES + b"\0",
        "trailing bytes: its header says 5 x 3 x 4 bytes, more follow",
    ),
    "no images": (idx_bytes(np.empty((0, 3, 4), np.uint8)), "empty: its header says 0 x 3 x 4"),
    "no pixels": (idx_bytes(np.empty((5, 3, 0), np.uint8)), "empty: its header says 5 x 3 x 0"),
    "huge": (
        IMAGES[:4] + b"\xff" * 12 + IMAGES[16:],
        "truncated: its header says 4294967295 x 4294967295 x 4294967295 bytes, at most ",
    ),
    "huge and empty": (
        IMAGES[:4] + b"\xff" * 8 + b"\0" * 4,
        "empty: its header says 4294967295 x 4294967295 x 0",
    ),
}


class TestDamage:
    @pytest.mark.parametrize("name", ["f-idx3-ubyte", "f-idx3-ubyte.gz"])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_is_named(self, tmp_path, damage, name):
        data, message = DAMAGE[damage]
        path = tmp_path / name
        write(path, data)
        with pytest.raises(ValueError) as info:
            load_idx(path, 3)
        assert str(info.value).startswith(f"{path} ")
        assert message in str(info.value)
        assert "\n" not in str(info.value)

    @pytest.mark.parametrize(
        "damage",
        {
            "plain": IMAGES,
            "truncated": gzip.compress(IMAGES)[:-9],
            "checksum": gzip.compress(IMAGES)[:-8] + bytes(8),
            "trailing": gzip.compress(IMAGES) + b"trailing",
            "stream": gzip.compress(IMAGES)[:10] + b"\xff" * 20,
        }.items(),
        ids=lambda item: item[0],
    )
    def test_of_compression_is_named(self, tmp_path, damage):
        path = tmp_path / "images.gz"
        path.write_bytes(damage[1])
        with pytest.raises(ValueError, match=r"images\.gz is not a sound gzip file: \w+"):
            load_idx(path, 3)

    @pytest.mark.parametrize(("promised", "message"), [(1, "has trailing bytes"), (2**31, "is truncated")])
    def test_more_or_less_than_promised_takes_no_memory(self, tmp_path, promised, message):
        path = tmp_path / "images.gz"
        header = idx_bytes(np.empty((0, 1, 1), np.uint8)).replace(bytes(4), promised.to_bytes(4, "big"), 1)
        path.write_bytes(gzip.compress(header) + 64 * gzip.compress(bytes(2**20)))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=rf"images\.gz {message}: its header says {promised} x 1 x 1 bytes"):
                load_idx(path, 3)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()

    def test_the_most_that_gzip_can_compress(self, tmp_path):
        images = np.zeros((1000, 100, 100), np.uint8)
        write(tmp_path / "images.gz", idx_bytes(images))
        assert (tmp_path / "images.gz").stat().st_size < images.size / 1000
        np.testing.assert_array_equal(load_idx(tmp_path / "images.gz", 3), images)

    def test_result_is_read_only(self, tmp_path):
        write(tmp_path / "images", IMAGES)
        assert not load_idx(tmp_path / "images", 3).flags.writeable

    @pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="this system has no file that refuses to be read")
    def test_file_that_cannot_be_read(self, tmp_path):
        (tmp_path / "images").symlink_to("/proc/self/mem")
        with pytest.raises(OSError) as info:
            load_idx(tmp_path / "images", 3)
        assert (info.value.errno, info.value.filename) == (errno.EIO, str(tmp_path / "images"))

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load_idx(tmp_path / "nothing", 3)

    @pytest.mark.parametrize("name", ["images", "images.gz"])
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.data())
    def test_any_truncation(self, tmp_path, name, data):
        path = tmp_path / name
        write(path, IMAGES)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ValueError, match=str(path)):
            load_idx(path, 3)

    @pytest.mark.parametrize("name", ["images", "images.gz"])
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.data())
    def test_any_changed_byte_is_harmless_or_a_value_error(self, tmp_path, name, data):
        path = tmp_path / name
        write(path, IMAGES)
        changed = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] ^= data.draw(st.integers(1, 255))
        path.write_bytes(changed)
        try:
            images = load_idx(path, 3)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            # A pixel, or a factor of the size traded for another, or the time stamp of gzip.
            assert images.size == 60
            if name == "images.gz":
                np.testing.assert_array_equal(images, sample(5)[0])
