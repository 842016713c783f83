# SPDX-License-Identifier: GPL-2.0-only
"""The devices of the driver, and nothing of the library in between.

    errno = ioctl(fd, uapi.GET_INFO, argument)      0, or what errno was
    call(fd, uapi.GET_INFO, argument)               raises Failure

    with Handle("/dev/vhdxc0", write=True) as disk:
        first, = Control.seal_of(disk)
        answer = disk.changes(first)
"""

import ctypes
import errno as errnos
import os

import ktap

from . import uapi

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

CONTROL = "/dev/vhdx-control"


def name_of(number):
    """What the kernel and the specifications call an errno; Python says ENOTSUP for 95."""
    return "EOPNOTSUPP" if number == errnos.EOPNOTSUPP else errnos.errorcode.get(number, str(number))


class Failure(OSError):
    """An ioctl failed; argument is what the driver made of it."""

    def __init__(self, number, argument):
        self.argument = argument
        self.reason = getattr(argument, "reason", 0)
        super().__init__(number, f"{name_of(number)}/"
                                 f"{uapi.REASONS[self.reason]}: {argument!r}")


def ioctl(fd, command, argument):
    """Calls it; other threads run meanwhile. 0 or errno.

    argument    a ctypes structure or array, or an address
    """
    at = argument if isinstance(argument, int) else ctypes.addressof(argument)
    return ctypes.get_errno() if _libc.ioctl(fd, command, at) < 0 else 0


def call(fd, command, argument):
    """Calls it and returns the argument, or raises Failure."""
    number = ioctl(fd, command, argument)
    if number:
        raise Failure(number, argument)
    return argument


def outcome(function, *arguments, **named):
    """(errno, reason) of what fails, None of what succeeds; other calls than ours have no
    reason."""
    try:
        function(*arguments, **named)
    except OSError as error:
        return error.errno, getattr(error, "reason", None)
    return None


def expect_failure(number, reason, function, *arguments, **named):
    """The call fails in this way and no other; the Failure."""
    error = ktap.expect_errno(number, function, *arguments, **named)
    ktap.equal(uapi.REASONS[error.reason], uapi.REASONS[reason], f"reason of {error}")
    return error


def label_array(label):
    """A label as the field of struct vhdx_seal."""
    data = label if isinstance(label, bytes) else label.encode()
    return (ctypes.c_uint8 * uapi.LABEL_MAX)(*data), len(data)


class _Descriptor:
    """An open file that closes itself."""

    def __init__(self, path, flags):
        self.path = path
        self.fd = os.open(path, flags | os.O_CLOEXEC)

    def close(self):
        """Closes it, once."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Control(_Descriptor):
    """/dev/vhdx-control"""

    def __init__(self):
        super().__init__(CONTROL, os.O_RDWR)
        self.message = ""

    def attach(self, container_fd, sidecar_fd=-1, flags=0, index=uapi.INDEX_ANY):
        """Attaches; returns struct vhdx_attach, and the text is in self.message."""
        return self.attach_layers([uapi.Layer(container_fd, sidecar_fd, 0, 0)], flags, index)

    def attach_layers(self, layers, flags=0, index=uapi.INDEX_ANY):
        """The same of a list of struct vhdx_layer, the leaf first."""
        array = (uapi.Layer * len(layers))(*layers)
        message = ctypes.create_string_buffer(512)
        argument = uapi.Attach(flags=flags, layers=ctypes.addressof(array),
                               layer_count=len(layers), index=index,
                               message=ctypes.addressof(message), message_capacity=len(message))
        number = ioctl(self.fd, uapi.ATTACH, argument)
        self.message = message.value.decode(errors="replace")
        if not number:
            return argument
        failure = Failure(number, argument)
        failure.add_note(self.message)
        raise failure

    def detach(self, index, disk_seq=0):
        """Detaches, tried once."""
        return call(self.fd, uapi.DETACH, uapi.Detach(index=index, disk_seq=disk_seq))

    def seal(self, fds, label=""):
        """Seals; returns the ids, in the order of fds."""
        numbers = (ctypes.c_int32 * len(fds))(*fds)
        ids = (uapi.PointId * len(fds))()
        text, length = label_array(label)
        call(self.fd, uapi.SEAL,
             uapi.Seal(fds=ctypes.addressof(numbers), ids=ctypes.addressof(ids),
                       count=len(fds), label=text, label_length=length))
        return [one.copy() for one in ids]

    @classmethod
    def seal_of(cls, *handles, label=""):
        """Seals the disks behind these handles."""
        with cls() as control:
            return control.seal([handle.fd for handle in handles], label)


class Handle(_Descriptor):
    """/dev/vhdxcN"""

    def __init__(self, path, write=False):
        super().__init__(path, os.O_RDWR if write else os.O_RDONLY)

    def seal(self, label=""):
        """Seals this disk alone; returns the id."""
        return Control.seal_of(self, label=label)[0]

    def info(self):
        """struct vhdx_info"""
        return call(self.fd, uapi.GET_INFO, uapi.Info())

    def layers(self, capacity=uapi.LAYERS_MAX):
        """(how many there are, [struct vhdx_layer_info]), the leaf first."""
        output = (uapi.LayerInfo * max(capacity, 1))()
        argument = call(self.fd, uapi.GET_LAYERS,
                        uapi.GetLayers(output=ctypes.addressof(output), output_capacity=capacity))
        return argument.layer_count, list(output[:argument.output_count])

    def state(self):
        """struct vhdx_tracking_state"""
        return call(self.fd, uapi.GET_TRACKING_STATE, uapi.TrackingState())

    def points(self, after=uapi.NOW, capacity=uapi.POINTS_MAX):
        """A list of struct vhdx_point, oldest first."""
        output = (uapi.Point * capacity)()
        argument = call(self.fd, uapi.GET_POINTS,
                        uapi.GetPoints(output=ctypes.addressof(output), after=after,
                                       output_capacity=capacity))
        return list(output[:argument.output_count])

    def ids(self):
        """The ids of all points, oldest first."""
        return [point.id.copy() for point in self.points()]

    def references(self):
        """Those of them that were sealed; not the snapshots of a chain."""
        return [point for point in self.ids() if point.kind == uapi.POINT_REFERENCE]

    def enable(self, sidecar_fd=-1, unit=0, flags=0):
        """Enables tracking; returns the first point's id."""
        return call(self.fd, uapi.TRACKING_ENABLE,
                    uapi.TrackingEnable(sidecar_fd=sidecar_fd, unit=unit,
                                        flags=flags)).first_point.copy()

    def disable(self):
        """Disables tracking."""
        call(self.fd, uapi.TRACKING_DISABLE, uapi.TrackingDisable())

    def reset(self):
        """Resets tracking; returns the fresh point's id."""
        return call(self.fd, uapi.TRACKING_RESET, uapi.TrackingReset()).first_point.copy()

    def forget(self, point):
        """Forgets a point."""
        call(self.fd, uapi.FORGET, uapi.Forget(id=point))

    def query(self, limit, target=uapi.NOW, offset=0, length=None, capacity=4096, **fields):
        """One call, of ranges without flags: (struct vhdx_get_virtual_disk_changes,
        [(offset, length)])."""
        if length is None:
            length = self.info().virtual_disk_size - offset
        output = (uapi.ShortRange * max(capacity, 1))()
        fields = {"range_size": ctypes.sizeof(uapi.ShortRange)} | fields
        argument = call(self.fd, uapi.GET_CHANGES,
                        uapi.GetChanges(limit_id=limit, target_id=target, byte_offset=offset,
                                        byte_length=length, output=ctypes.addressof(output),
                                        output_capacity=capacity, **fields))
        return argument, [(one.byte_offset, one.byte_length)
                          for one in output[:argument.output_count]]

    def flagged(self, limit, target=uapi.NOW, offset=0, length=None, capacity=4096, **fields):
        """The same with flags: (struct vhdx_get_virtual_disk_changes, [struct vhdx_range])."""
        if length is None:
            length = self.info().virtual_disk_size - offset
        output = (uapi.Range * max(capacity, 1))()
        argument = call(self.fd, uapi.GET_CHANGES,
                        uapi.GetChanges(limit_id=limit, target_id=target, byte_offset=offset,
                                        byte_length=length, output=ctypes.addressof(output),
                                        output_capacity=capacity, **fields))
        return argument, output[:argument.output_count]

    def bits(self, limit, target=uapi.NOW, offset=0, length=None, capacity=4096,
             granularity=0):
        """One call: (struct vhdx_get_virtual_disk_changes, bytes)."""
        if length is None:
            length = self.info().virtual_disk_size - offset
        output = (ctypes.c_uint8 * (capacity + 8))(*b"guarded!" * (capacity // 8 + 1))
        argument = call(self.fd, uapi.GET_CHANGES,
                        uapi.GetChanges(flags=uapi.CHANGES_BITMAP, limit_id=limit,
                                        target_id=target, byte_offset=offset, byte_length=length,
                                        granularity=granularity, range_size=0,
                                        output=ctypes.addressof(output),
                                        output_capacity=capacity))
        told = argument.output_count
        # What is not told of is left alone.
        assert bytes(output[told:]) == b"guarded!" * ((len(output) - told) // 8), "overrun"
        return argument, bytes(output[:told])

    def pages(self, limit, target=uapi.NOW, offset=0, length=None, capacity=4096):
        """All calls of a whole query, as the oracle's model wants answers."""
        if length is None:
            length = self.info().virtual_disk_size - offset
        end = offset + length
        pages = []
        while offset < end or not pages:
            argument, ranges = self.query(limit, target, offset, end - offset, capacity)
            pages.append({"offset": offset, "length": end - offset,
                          "processed": argument.processed_byte_length, "unit": argument.unit,
                          "coarse": bool(argument.answer_flags & uapi.ANSWER_COARSE),
                          "live": bool(argument.answer_flags & uapi.ANSWER_LIVE),
                          "complete_to": argument.complete_to_id.copy(),
                          "ranges": [{"offset": o, "length": n} for o, n in ranges]})
            if not argument.processed_byte_length:
                break
            offset += argument.processed_byte_length
        return pages

    def allocated(self, offset=0, length=None, capacity=4096, **fields):
        """One call: (struct vhdx_get_allocated_ranges, [struct vhdx_range])."""
        if length is None:
            length = self.info().virtual_disk_size - offset
        output = (uapi.Range * max(capacity, 1))()
        argument = call(self.fd, uapi.GET_ALLOCATED_RANGES,
                        uapi.GetAllocatedRanges(byte_offset=offset, byte_length=length,
                                                output=ctypes.addressof(output),
                                                output_capacity=capacity, **fields))
        return argument, output[:argument.output_count]

    def changes(self, limit, target=uapi.NOW, offset=0, length=None, capacity=4096):
        """A whole query: [(offset, length)], joined where pages touch."""
        joined = []
        for page in self.pages(limit, target, offset, length, capacity):
            for one in page["ranges"]:
                if joined and joined[-1][0] + joined[-1][1] == one["offset"]:
                    joined[-1] = (joined[-1][0], joined[-1][1] + one["length"])
                else:
                    joined.append((one["offset"], one["length"]))
        return joined
