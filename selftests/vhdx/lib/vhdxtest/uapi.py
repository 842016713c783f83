# SPDX-License-Identifier: GPL-2.0-only
"""<linux/vhdx.h>, written down a second time: field by field, for ctypes.

No number is taken from the header: a change of the contract shows as a failure.
"""

import ctypes
import uuid
from ctypes import c_int32 as s32, c_uint8 as u8, c_uint32 as u32, c_uint64 as u64

LABEL_MAX = 64
LAYERS_MAX = 256
SEAL_MAX = 256
POINTS_MAX = 4096
UNIT_MIN = 4096
UNIT_MAX = 1 << 20
UNIT_DEFAULT = 16384

REASONS = ("none", "argument", "id_missing", "changed_offline", "inconsistent", "disabled",
           "reset", "unclean", "tracking_error", "unsupported", "bad_type", "corrupt",
           "in_use", "read_only", "no_space", "io", "id_malformed", "host_full")
(NONE, ARGUMENT, ID_MISSING, CHANGED_OFFLINE, INCONSISTENT, DISABLED, RESET, UNCLEAN,
 TRACKING_ERROR, UNSUPPORTED, BAD_TYPE, CORRUPT, IN_USE, READ_ONLY, NO_SPACE, IO,
 ID_MALFORMED, HOST_FULL) = range(18)

BYTES_UNKNOWN = (1 << 64) - 1
POINT_NONE, POINT_REFERENCE, POINT_SNAPSHOT, POINT_WINDOWS = range(4)
TRACKING_OFF, TRACKING_ON, TRACKING_DISABLED = range(3)

ATTACH_READ_ONLY = 1 << 0
ATTACH_NO_TRACK = 1 << 1
ATTACH_FAIL_TRACKING = 1 << 2
ATTACH_STRICT = 1 << 3
ATTACH_AUTOCLEAR = 1 << 4
ATTACH_WILL_TRACK = 1 << 5
INDEX_ANY = -1

DISK_READ_ONLY, DISK_FIXED, DISK_REPLAYED, DISK_DIRECT_IO, DISK_BLOCK, DISK_POISONED, \
    DISK_LOST, DISK_LOG_UNWRITTEN = (1 << bit for bit in range(8))

ENABLE_OVERWRITE = 1 << 0
CHANGES_BITMAP, CHANGES_COUNT = 1 << 0, 1 << 1
ALLOCATED_ZEROES = 1 << 0
RANGE_ZERO = 1 << 0
RANGE_SIZE_SHORT = 16
POINT_HAS_DATA, POINT_COARSE, POINT_DERIVED = 1 << 0, 1 << 1, 1 << 2
ANSWER_COARSE, ANSWER_DERIVED, ANSWER_LIVE = 1 << 0, 1 << 1, 1 << 2

ATTACH, DETACH, SEAL = 0xD700, 0xD701, 0xD702
GET_INFO, GET_TRACKING_STATE, GET_POINTS, GET_CHANGES = 0xD720, 0xD721, 0xD722, 0xD723
GET_ALLOCATED_RANGES, GET_LAYERS = 0xD724, 0xD725
TRACKING_ENABLE, TRACKING_DISABLE, TRACKING_RESET, FORGET = 0xD728, 0xD729, 0xD72A, 0xD72B


def fields_of(structure):
    """The fields as text, for the messages of a failing test."""
    return f"{type(structure).__name__}(" + ", ".join(
        f"{name}={getattr(structure, name)!r}" for name, _ in structure._fields_) + ")"


class Argument(ctypes.Structure):
    """An argument of an ioctl: its size and those of elements are set, the rest as given."""

    STRIDES = {}

    def __init__(self, **fields):
        super().__init__(**({"size": ctypes.sizeof(self)} | self.STRIDES | fields))

    __repr__ = fields_of


class PointId(ctypes.Structure):
    """struct vhdx_point_id; compares and hashes by its bytes."""

    _fields_ = [("guid", u8 * 16), ("sequence", u64), ("kind", u32), ("reserved", u32)]

    def __eq__(self, other):
        return isinstance(other, PointId) and bytes(self) == bytes(other)

    def __hash__(self):
        return hash(bytes(self))

    def __bool__(self):
        return any(bytes(self))

    def copy(self):
        """Another one, that does not share the memory of a larger structure."""
        return PointId.from_buffer_copy(self)

    def __str__(self):
        guid = uuid.UUID(bytes_le=bytes(self.guid))
        if self.kind == POINT_SNAPSHOT:
            return f"{{{guid}}}"
        return f"rct:{guid}:{self.sequence:016x}"

    __repr__ = __str__

    @classmethod
    def parse(cls, text):
        """From rct:GUID:SEQUENCE, or {GUID}."""
        if text.startswith("{"):
            return cls((u8 * 16)(*uuid.UUID(text).bytes_le), 0, POINT_SNAPSHOT, 0)
        _, guid, sequence = text.split(":")
        return cls((u8 * 16)(*uuid.UUID(guid).bytes_le), int(sequence, 16), POINT_REFERENCE, 0)


NOW = PointId()


class Range(ctypes.Structure):
    """struct vhdx_range"""

    _fields_ = [("byte_offset", u64), ("byte_length", u64), ("flags", u32), ("reserved", u32)]
    __repr__ = fields_of


class Layer(ctypes.Structure):
    """struct vhdx_layer"""

    _fields_ = [("container_fd", s32), ("sidecar_fd", s32), ("flags", u32), ("reserved", u32)]
    __repr__ = fields_of


class Attach(Argument):
    """struct vhdx_attach"""

    STRIDES = {"layer_size": ctypes.sizeof(Layer)}
    _fields_ = [("size", u32), ("flags", u32), ("layers", u64), ("layer_count", u32),
                ("layer_size", u32), ("index", s32), ("reason", u32), ("message", u64),
                ("message_capacity", u32), ("reserved", u32), ("disk_seq", u64)]


class Detach(Argument):
    """struct vhdx_detach"""

    _fields_ = [("size", u32), ("flags", u32), ("index", s32), ("reason", u32), ("message", u64),
                ("message_capacity", u32), ("reserved", u32), ("disk_seq", u64)]


class Seal(Argument):
    """struct vhdx_seal"""

    _fields_ = [("size", u32), ("flags", u32), ("fds", u64), ("ids", u64), ("count", u32),
                ("label_length", u32), ("label", u8 * LABEL_MAX), ("failed", u32), ("reason", u32),
                ("message", u64), ("message_capacity", u32), ("reserved", u32), ("time_ns", u64)]


class Info(Argument):
    """struct vhdx_info"""

    _fields_ = [("size", u32), ("flags", u32), ("index", s32), ("disk_flags", u32),
                ("virtual_disk_size", u64), ("virtual_disk_id", u8 * 16),
                ("data_write_guid", u8 * 16), ("block_size", u32), ("logical_sector_size", u32),
                ("physical_sector_size", u32), ("reason", u32), ("disk_seq", u64),
                ("layer_count", u32), ("unit", u32), ("message", u64), ("message_capacity", u32),
                ("reserved", u32)]


class TrackingState(Argument):
    """struct vhdx_tracking_state"""

    _fields_ = [("size", u32), ("flags", u32), ("state", u32), ("newer_changes", u32),
                ("most_recent_id", PointId), ("unit", u32), ("point_count", u32),
                ("gap_reason", u32), ("reason", u32), ("generation", u64), ("gap_time_ns", u64),
                ("sidecar_used", u64), ("sidecar_limit", u64), ("live_bytes", u64),
                ("message", u64), ("message_capacity", u32), ("points_max", u32)]


class TrackingEnable(Argument):
    """struct vhdx_tracking_enable"""

    _fields_ = [("size", u32), ("flags", u32), ("sidecar_fd", s32), ("unit", u32), ("message", u64),
                ("message_capacity", u32), ("reason", u32), ("first_point", PointId)]


class TrackingDisable(Argument):
    """struct vhdx_tracking_disable"""

    _fields_ = [("size", u32), ("flags", u32), ("message", u64), ("message_capacity", u32),
                ("reason", u32)]


class TrackingReset(Argument):
    """struct vhdx_tracking_reset"""

    _fields_ = [("size", u32), ("flags", u32), ("message", u64), ("message_capacity", u32),
                ("reason", u32), ("first_point", PointId)]


class Point(ctypes.Structure):
    """struct vhdx_point"""

    _fields_ = [("id", PointId), ("time_ns", u64), ("gap_time_ns", u64), ("virtual_disk_size", u64),
                ("changed_bytes", u64), ("flags", u32), ("layer", u32), ("gap_reason", u32),
                ("label_length", u32), ("label", u8 * LABEL_MAX)]
    __repr__ = fields_of

    @property
    def text(self):
        """The label."""
        return bytes(self.label)[:self.label_length].decode()


class GetPoints(Argument):
    """struct vhdx_get_points"""

    STRIDES = {"point_size": ctypes.sizeof(Point)}
    _fields_ = [("size", u32), ("flags", u32), ("after", PointId), ("output", u64),
                ("output_capacity", u32), ("output_count", u32), ("point_size", u32),
                ("point_count", u32), ("generation", u64), ("message", u64),
                ("message_capacity", u32), ("reason", u32)]


class Forget(Argument):
    """struct vhdx_forget"""

    _fields_ = [("size", u32), ("flags", u32), ("id", PointId), ("message", u64),
                ("message_capacity", u32), ("reason", u32)]


class GetChanges(Argument):
    """struct vhdx_get_virtual_disk_changes"""

    STRIDES = {"range_size": ctypes.sizeof(Range)}
    _fields_ = [("size", u32), ("flags", u32), ("limit_id", PointId), ("target_id", PointId),
                ("byte_offset", u64), ("byte_length", u64), ("granularity", u64), ("min_gap", u64),
                ("output", u64), ("output_capacity", u32), ("output_count", u32),
                ("range_size", u32), ("time_limit_ms", u32), ("processed_byte_length", u64),
                ("changed_bytes", u64), ("virtual_disk_size", u64), ("disk_seq", u64),
                ("gap_time_ns", u64), ("complete_to_id", PointId), ("unit", u32),
                ("answer_flags", u32), ("message", u64), ("message_capacity", u32), ("reason", u32)]


class GetAllocatedRanges(Argument):
    """struct vhdx_get_allocated_ranges"""

    STRIDES = {"range_size": ctypes.sizeof(Range)}
    _fields_ = [("size", u32), ("flags", u32), ("byte_offset", u64), ("byte_length", u64),
                ("min_gap", u64), ("output", u64), ("output_capacity", u32), ("output_count", u32),
                ("range_size", u32), ("time_limit_ms", u32), ("processed_byte_length", u64),
                ("allocated_bytes", u64), ("virtual_disk_size", u64), ("disk_seq", u64),
                ("message", u64), ("message_capacity", u32), ("reason", u32)]


class LayerInfo(ctypes.Structure):
    """struct vhdx_layer_info"""

    _fields_ = [("data_write_guid", u8 * 16), ("container_size", u64), ("container_inode", u64),
                ("container_major", u32), ("container_minor", u32), ("disk_flags", u32),
                ("reserved", u32), ("virtual_disk_size", u64), ("virtual_disk_id", u8 * 16),
                ("block_size", u32), ("reserved2", u32)]
    __repr__ = fields_of


class GetLayers(Argument):
    """struct vhdx_get_layers"""

    STRIDES = {"layer_size": ctypes.sizeof(LayerInfo)}
    _fields_ = [("size", u32), ("flags", u32), ("output", u64), ("output_capacity", u32),
                ("output_count", u32), ("layer_size", u32), ("layer_count", u32), ("message", u64),
                ("message_capacity", u32), ("reason", u32)]


# Each ioctl of a /dev/vhdxcN: its argument, and whether it needs a writable descriptor.
OF_DISK = {
    GET_INFO: (Info, False), GET_TRACKING_STATE: (TrackingState, False),
    GET_POINTS: (GetPoints, False), GET_CHANGES: (GetChanges, False),
    GET_ALLOCATED_RANGES: (GetAllocatedRanges, False), GET_LAYERS: (GetLayers, False),
    TRACKING_ENABLE: (TrackingEnable, True), TRACKING_DISABLE: (TrackingDisable, True),
    TRACKING_RESET: (TrackingReset, True), FORGET: (Forget, True),
}
OF_CONTROL = {ATTACH: (Attach, False), DETACH: (Detach, False), SEAL: (Seal, False)}
