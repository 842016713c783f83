/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * VHDX disks with Resilient Change Tracking: the contract between the vhdx
 * kernel module and user space.
 *
 * Devices
 *	/dev/vhdx-control	attach, detach, seal (across disks)
 *	/dev/vhdxN		the block device of disk N
 *	/dev/vhdxcN		change tracking of disk N
 *
 * Rules that hold for every ioctl here
 *	- The argument is a structure whose first field, size, is the caller's
 *	  sizeof. Structures grow at their end only. A size below the first
 *	  published one (*_SIZE_VER0) is EINVAL; fields that the caller does not
 *	  have count as zero; bytes beyond what the kernel knows must be zero, else
 *	  E2BIG; so is a size above a page. The structure is copied back as far as
 *	  both sides know it.
 *	- Arrays carry the size of their elements: the caller's sizeof. An element
 *	  that the caller has larger than the kernel ends with zeroes. Only ranges
 *	  have one of two sizes: see struct vhdx_range.
 *	- Unknown flags and non-zero reserved fields are EINVAL. A flag or field that
 *	  is known but not implemented yet is EOPNOTSUPP when it is set.
 *	- An unknown command is ENOTTY.
 *	- On failure the structure is copied back too, with reason filled in and
 *	  every other field that is only an output zero, unless it says "also on
 *	  failure"; except after EFAULT, a bad size, and where the disk was gone
 *	  already (ENODEV). What is wrong is in the message, in one line.
 *	- message points to a buffer for that line, or is zero; message_capacity is
 *	  its size in bytes. The text is cut to fit and always ends with a NUL.
 *	- Offsets and lengths are in bytes. Pointers are carried in 64 bits. The
 *	  layout is the same for 32-bit and 64-bit callers, with no padding.
 *	- Once a disk is detached, every ioctl on its /dev/vhdxcN is ENODEV and
 *	  poll reports POLLHUP. Poll reports POLLPRI when the generation of the
 *	  disk's points is another one than VHDX_GET_TRACKING_STATE told last
 *	  through this descriptor.
 */
#ifndef _UAPI_LINUX_VHDX_H
#define _UAPI_LINUX_VHDX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The longest label of a point, in bytes of UTF-8, without a terminator. */
#define VHDX_LABEL_MAX		64
/* Most layers in one ATTACH (the depth of a differencing chain). */
#define VHDX_LAYERS_MAX		256
/* Most disks in one SEAL. */
#define VHDX_SEAL_MAX		256
/* A tracking unit is a power of two between these, in bytes. */
#define VHDX_UNIT_MIN		4096U
#define VHDX_UNIT_MAX		1048576U
#define VHDX_UNIT_DEFAULT	16384U
/* A number of bytes that was never recorded. */
#define VHDX_BYTES_UNKNOWN	(~(__u64)0)

/**
 * DOC: reasons
 *
 * errno says what class of failure it was; the reason says which one, so that
 * a backup agent can log why the next backup has to be a full one.
 *
 * VHDX_REASON_NONE		nothing to report
 * VHDX_REASON_ARGUMENT		a bad argument (EINVAL)
 * VHDX_REASON_ID_MISSING	a well-formed id that this disk does not know:
 *				foreign, forgotten, or its history is gone
 *				(ENODATA; ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION)
 * VHDX_REASON_CHANGED_OFFLINE	somebody else wrote the container, or the
 *				container or the sidecar is an older or another
 *				copy (ESTALE; ERROR_CTLOG_VHD_CHANGED_OFFLINE)
 * VHDX_REASON_INCONSISTENT	the sidecar is damaged
 *				(ESTALE; ERROR_CTLOG_INCONSISTENT_TRACKING_FILE)
 * VHDX_REASON_DISABLED		tracking is, or was for a while, disabled
 *				(EOPNOTSUPP or ESTALE;
 *				ERROR_VHD_CHANGE_TRACKING_DISABLED)
 * VHDX_REASON_RESET		tracking was reset by the administrator (ESTALE)
 * VHDX_REASON_UNCLEAN		the disk was not detached: power loss or crash
 *				(ESTALE). Not given any more: the answer is
 *				VHDX_ANSWER_COARSE
 * VHDX_REASON_TRACKING_ERROR	the sidecar could not be written (ESTALE)
 * VHDX_REASON_UNSUPPORTED	a feature of the container or of the sidecar
 *				that this driver does not implement (EOPNOTSUPP)
 * VHDX_REASON_BAD_TYPE		not a VHDX (EMEDIUMTYPE)
 * VHDX_REASON_CORRUPT		a damaged container (EUCLEAN)
 * VHDX_REASON_IN_USE		somebody uses the container, the sidecar or the
 *				disk (EBUSY)
 * VHDX_REASON_READ_ONLY	the disk is attached read-only, or the block device of its
 *				container or sidecar is read-only (EROFS)
 * VHDX_REASON_NO_SPACE		out of points, or of room in a container or sidecar
 *				that can't grow (ENOSPC)
 * VHDX_REASON_IO		reading or writing the container or the sidecar
 *				failed (EIO)
 * VHDX_REASON_ID_MALFORMED	this is not the id of a point (EINVAL)
 * VHDX_REASON_HOST_FULL	the file system that the container or the sidecar
 *				lives on has no room (ENOSPC)
 */
#define VHDX_REASON_NONE		0
#define VHDX_REASON_ARGUMENT		1
#define VHDX_REASON_ID_MISSING		2
#define VHDX_REASON_CHANGED_OFFLINE	3
#define VHDX_REASON_INCONSISTENT	4
#define VHDX_REASON_DISABLED		5
#define VHDX_REASON_RESET		6
#define VHDX_REASON_UNCLEAN		7
#define VHDX_REASON_TRACKING_ERROR	8
#define VHDX_REASON_UNSUPPORTED		9
#define VHDX_REASON_BAD_TYPE		10
#define VHDX_REASON_CORRUPT		11
#define VHDX_REASON_IN_USE		12
#define VHDX_REASON_READ_ONLY		13
#define VHDX_REASON_NO_SPACE		14
#define VHDX_REASON_IO			15
#define VHDX_REASON_ID_MALFORMED	16
#define VHDX_REASON_HOST_FULL		17

/* What a point is: the kind field of struct vhdx_point_id. */
#define VHDX_POINT_NONE		0	/* no point; as a target: now */
#define VHDX_POINT_REFERENCE	1	/* sealed: its id and its deltas exist */
#define VHDX_POINT_SNAPSHOT	2	/* a frozen layer */
#define VHDX_POINT_WINDOWS	3	/* issued by Windows: never known here */

/**
 * struct vhdx_point_id - names one point in the history of one disk
 * @guid:	drawn afresh for every seal, in the byte order of the on-disk
 *		GUIDs of MS-VHDX (the first three fields are little endian); of
 *		a snapshot the DataWriteGuid of the frozen layer
 * @sequence:	orders the points of a disk; zero for a snapshot
 * @kind:	VHDX_POINT_*
 * @reserved:	zero
 *
 * All zero means "none"; as a target it means "now". The text form of a
 * reference is rct:GUID-with-dashes:16 hex digits of the sequence, that of a
 * snapshot {GUID-with-dashes}.
 */
struct vhdx_point_id {
	__u8 guid[16];
	__aligned_u64 sequence;
	__u32 kind;
	__u32 reserved;
};

/*
 * The range reads as zeroes now: discarded, or never written, in any layer. There is no
 * need to read it; a copy that had something there has to have zeroes now. Ranges without
 * this flag may read as zeroes, too.
 *
 * Now is some moment of the call: what a write that was acknowledged before the call put
 * there is never told as zeroes. That holds for a question between two points as well: the
 * flag says what whoever reads the disk now finds, not what was there at the target. A
 * write that comes later is a change of the next answer.
 */
#define VHDX_RANGE_ZERO		(1U << 0)

/**
 * struct vhdx_range - a byte range of the virtual disk
 * @byte_offset:	where it begins, in bytes
 * @byte_length:	how long it is, in bytes; never zero
 * @flags:		VHDX_RANGE_*
 * @reserved:		zero
 *
 * An array of ranges has elements of VHDX_RANGE_SIZE_VER0 bytes, which are the first
 * two fields, or of sizeof(struct vhdx_range). Any other size is EINVAL.
 */
struct vhdx_range {
	__aligned_u64 byte_offset;
	__aligned_u64 byte_length;
	__u32 flags;
	__u32 reserved;
};

#define VHDX_RANGE_SIZE_VER0	16U

/**
 * struct vhdx_layer - one layer of the disk to attach, leaf first
 * @container_fd:	regular file or block device with the VHDX bytes. Opened
 *			for reading and writing, or for reading only for a
 *			read-only attach and for parents; never with O_APPEND. The kernel keeps
 *			this very open file, with the locks on it, until detach.
 * @sidecar_fd:		the change-tracking sidecar of this layer, opened the
 *			same way, or -1 where there is none. That of a parent is only
 *			read, for what it tells of the past
 * @flags:		zero
 * @reserved:		zero
 */
struct vhdx_layer {
	__s32 container_fd;
	__s32 sidecar_fd;
	__u32 flags;
	__u32 reserved;
};

#define VHDX_LAYER_SIZE_VER0	16U

/* Flags of VHDX_ATTACH. */

/*
 * Attach for reading. Nothing is written to the container or to the sidecar;
 * a dirty log is replayed in memory.
 */
#define VHDX_ATTACH_READ_ONLY		(1U << 0)
/*
 * Do not resume the sidecar that came with the layer. Writes go untracked and
 * the sidecar will find a gap (CHANGED_OFFLINE) when it is used again.
 */
#define VHDX_ATTACH_NO_TRACK		(1U << 1)
/*
 * Where changes can't be recorded any more, fail writes rather than lose the
 * history: if the sidecar can't be written, or does not answer in time, writes
 * fail with EIO until the disk is detached. The disk can be read. Its state is
 * VHDX_TRACKING_OFF with TRACKING_ERROR, and questions, seals and so on fail with
 * EIO. Nothing that was not recorded has been written: attached again, with the
 * sidecar mended, its points are what they were. ENOSPC is no such failure: the
 * first write fails with it, and one that comes when there is room does not. A
 * sidecar that can't be used is an error of VHDX_ATTACH; so is none (EINVAL/ARGUMENT),
 * and one that is disabled (EINVAL/DISABLED), where the disk is attached for writing:
 * see VHDX_ATTACH_WILL_TRACK. With VHDX_ATTACH_STRICT the container's header stays
 * as the sidecar knows it: a flush of new blocks may fail, too, and VHDX_DETACH does
 * with EIO; the next attach replays the log.
 */
#define VHDX_ATTACH_FAIL_TRACKING	(1U << 2)
/*
 * Find out, too, if the sidecar alone went back in time, in the middle of a
 * session: its file system was restored after a crash, and the container's was
 * not. The sidecar is told of each update of the container's header, and that is
 * updated for each commit of regions: one more write and flush in the container.
 * From now until a session without the flag; whoever opens the sidecar checks it.
 */
#define VHDX_ATTACH_STRICT		(1U << 3)
/*
 * Detach at the last close: when nobody has had the block device open for a
 * second, once it was mounted, or opened for writing. Looking at it does not
 * count.
 */
#define VHDX_ATTACH_AUTOCLEAR		(1U << 4)
/*
 * With VHDX_ATTACH_FAIL_TRACKING: there may be no sidecar yet, or one that is disabled. Whoever
 * attaches enables tracking before the first write: until then writes neither fail nor are
 * recorded.
 */
#define VHDX_ATTACH_WILL_TRACK		(1U << 5)
/* Never the kernel's: for libraries that hand the other bits through. EINVAL. */
#define VHDX_ATTACH_LIBRARY_FLAGS	0xff000000U

#define VHDX_INDEX_ANY			(-1)

/**
 * struct vhdx_attach - argument of VHDX_ATTACH
 * @size:		sizeof(struct vhdx_attach)
 * @flags:		VHDX_ATTACH_*
 * @layers:		pointer to an array of struct vhdx_layer, leaf first
 * @layer_count:	its length, 1 to VHDX_LAYERS_MAX: a differencing disk, its parent, and
 *			so on to the one that has none
 * @layer_size:		size of its elements, sizeof(struct vhdx_layer)
 * @index:		in: the wanted N of /dev/vhdxN, or VHDX_INDEX_ANY; out:
 *			the index that was given
 * @reason:		out: VHDX_REASON_* on failure; on success the reason why
 *			a sidecar was not resumed, or why it begins with a gap
 * @message:		pointer to a buffer for a line of text: what is wrong with
 *			which structure at which offset; on success a warning, or
 *			empty
 * @message_capacity:	its size in bytes
 * @reserved:		zero
 * @disk_seq:		out: a number that no other attachment has or will have
 *			while this machine is up; the block device's diskseq
 *
 * Both nodes can be opened when the call returns.
 *
 * A parent is never written, and may be read by many disks; nor is its sidecar. If that
 * can't be used (it is damaged, or the parent was written without it) the disk is attached,
 * the message says so, and a question about a point that may be in it fails with the
 * reason. With several layers the message names the one that is wrong by its position,
 * 0 = the leaf.
 *
 * Errors: EMEDIUMTYPE not a VHDX; EUCLEAN damaged, or the next layer is not the parent;
 * EOPNOTSUPP a feature that is not supported; EBUSY the container
 * or sidecar is attached already, the index is taken, or a block device is held
 * by somebody; EROFS the block device is read-only, and the attach is not; EBADF a
 * bad descriptor; EACCES a descriptor without the needed mode; EINVAL, also a parent that
 * is missing, or a layer too many; EPERM without
 * CAP_SYS_ADMIN; ENOSPC no room to replay the log; EIO; ENOMEM; EINTR the caller was
 * killed: as soon as the container answers what was begun is taken back, and until then
 * it is in use, and so is the index; ESHUTDOWN the machine is shutting down.
 */
struct vhdx_attach {
	__u32 size;
	__u32 flags;
	__aligned_u64 layers;
	__u32 layer_count;
	__u32 layer_size;
	__s32 index;
	__u32 reason;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reserved;
	__aligned_u64 disk_seq;
};

#define VHDX_ATTACH_SIZE_VER0	56U

/**
 * struct vhdx_detach - argument of VHDX_DETACH
 * @size:		sizeof(struct vhdx_detach)
 * @flags:		zero
 * @index:		N of /dev/vhdxN
 * @reason:		out: VHDX_REASON_* on failure; on success
 *			VHDX_REASON_TRACKING_ERROR where the sidecar does not keep
 *			what changed, and the next backup must be a full one;
 *			VHDX_REASON_HOST_FULL or VHDX_REASON_NO_SPACE where it had no
 *			room, and the next answer tells more than was written
 * @message:		pointer to a buffer for a line of text: why not, or what could
 *			not be saved, or not exactly
 * @message_capacity:	its size in bytes
 * @reserved:		zero
 * @disk_seq:		the attachment that is meant; 0: whichever has the index
 *
 * Commits all metadata, saves the live delta, closes the container cleanly and
 * drops the open files before it returns. EBUSY while the block device is open
 * or mounted, at once; or because a kernel module holds the disk and has not let
 * go of it in five seconds; an open /dev/vhdxcN does not count. ENODEV no such disk, or another
 * one than @disk_seq has the index now. EIO the disk is gone, but the container
 * could not be closed cleanly, and its log is replayed at the next attach; or it
 * was cut or written over by somebody, and left as it is: the message says which.
 * EPERM without CAP_SYS_ADMIN. ESHUTDOWN the machine is shutting down, and the
 * disk is closed by that: it can be read to the end. EINTR the caller was killed:
 * where it waited for the container, the disk goes all the same once that answers.
 */
struct vhdx_detach {
	__u32 size;
	__u32 flags;
	__s32 index;
	__u32 reason;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reserved;
	__aligned_u64 disk_seq;
};

#define VHDX_DETACH_SIZE_VER0	40U

/**
 * struct vhdx_seal - argument of VHDX_SEAL
 * @size:		sizeof(struct vhdx_seal)
 * @flags:		zero
 * @fds:		pointer to an array of __s32: descriptors of /dev/vhdxcN,
 *			each open for writing, each of another disk
 * @ids:		pointer to an array of struct vhdx_point_id that is filled in
 * @count:		length of both arrays, 1 … VHDX_SEAL_MAX
 * @label_length:	bytes of @label in use, at most VHDX_LABEL_MAX
 * @label:		a text to know the points by: UTF-8 without control
 *			characters
 * @failed:		out, on failure: the position in @fds of the disk that failed
 * @reason:		out: VHDX_REASON_* on failure
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reserved:		zero
 * @time_ns:		out: the points' time, nanoseconds since 1970 UTC
 *
 * One instant for all disks: the live maps are exchanged in one window in which
 * no write is admitted; then everything written before it is made durable; then
 * the points. Either all ids are returned or none exists.
 *
 * Errors: EROFS attached read-only; EOPNOTSUPP tracking is not enabled; ENOSPC
 * out of points or of room; ESTALE a sidecar was removed: tracking of that disk is off
 * from now on (TRACKING_ERROR); EBADF a descriptor is no /dev/vhdxcN or not open for
 * writing; EINVAL the same disk twice, a bad label or count; EIO; ENOMEM; EFAULT;
 * EINTR killed; ENODEV a disk was detached.
 */
struct vhdx_seal {
	__u32 size;
	__u32 flags;
	__aligned_u64 fds;
	__aligned_u64 ids;
	__u32 count;
	__u32 label_length;
	__u8 label[VHDX_LABEL_MAX];
	__u32 failed;
	__u32 reason;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reserved;
	__aligned_u64 time_ns;
};

#define VHDX_SEAL_SIZE_VER0	128U

/* Bits of vhdx_info.disk_flags. */
#define VHDX_DISK_READ_ONLY	(1U << 0)	/* attached read-only */
#define VHDX_DISK_FIXED		(1U << 1)	/* blocks stay allocated */
#define VHDX_DISK_REPLAYED	(1U << 2)	/* a dirty log was replayed at attach */
#define VHDX_DISK_DIRECT_IO	(1U << 3)	/* the container file is used with direct I/O */
#define VHDX_DISK_BLOCK		(1U << 4)	/* the container is a block device */
#define VHDX_DISK_POISONED	(1U << 5)	/* no more writes: a commit failed, or it is lost */
#define VHDX_DISK_LOST		(1U << 6)	/* the container was cut or written over: no I/O */
/*
 * The header names a log of which nothing was ever written: QEMU was killed between the two. It
 * is read as it is; to write it is EUCLEAN/CORRUPT, until `vhdxctl check --repair` closes the log.
 */
#define VHDX_DISK_LOG_UNWRITTEN	(1U << 7)

/**
 * struct vhdx_info - argument of VHDX_GET_INFO
 * @size:		sizeof(struct vhdx_info)
 * @flags:		zero
 * @index:		out: N of /dev/vhdxN
 * @disk_flags:		out: VHDX_DISK_*
 * @virtual_disk_size:	out: size of the block device in bytes
 * @virtual_disk_id:	out: VirtualDiskId, MS-VHDX 2.6.2.4
 * @data_write_guid:	out: DataWriteGuid now in the header, MS-VHDX 2.2.2
 * @block_size:		out: payload block size in bytes, MS-VHDX 2.6.2.1
 * @logical_sector_size: out: in bytes, MS-VHDX 2.6.2.5
 * @physical_sector_size: out: in bytes, MS-VHDX 2.6.2.6
 * @reason:		out: VHDX_REASON_* on failure
 * @disk_seq:		out: which attachment this is, as VHDX_ATTACH returned it
 * @layer_count:	out: files that it is made of
 * @unit:		out: tracking unit in bytes; 0 where there is no sidecar
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reserved:		zero
 *
 * Errors: ENODEV the disk was detached.
 */
struct vhdx_info {
	__u32 size;
	__u32 flags;
	__s32 index;
	__u32 disk_flags;
	__aligned_u64 virtual_disk_size;
	__u8 virtual_disk_id[16];
	__u8 data_write_guid[16];
	__u32 block_size;
	__u32 logical_sector_size;
	__u32 physical_sector_size;
	__u32 reason;
	__aligned_u64 disk_seq;
	__u32 layer_count;
	__u32 unit;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reserved;
};

#define VHDX_INFO_SIZE_VER0	104U

/* Values of vhdx_tracking_state.state. */
#define VHDX_TRACKING_OFF	0	/* no sidecar, or one that is not usable */
#define VHDX_TRACKING_ON	1	/* writes are recorded */
#define VHDX_TRACKING_DISABLED	2	/* a sidecar is there, but switched off */

/**
 * struct vhdx_tracking_state - argument of VHDX_GET_TRACKING_STATE
 * @size:		sizeof(struct vhdx_tracking_state)
 * @flags:		zero
 * @state:		out: VHDX_TRACKING_*
 * @newer_changes:	out: 1 if the disk changed, or may have changed, since
 *			@most_recent_id: also where tracking is off or disabled, or
 *			a gap lies behind that point
 * @most_recent_id:	out: the newest point; all zero where there is none
 * @unit:		out: tracking unit in bytes; 0 where there is no sidecar
 * @point_count:	out: number of points in the leaf's own sidecar; 0 where @state is
 *			OFF. Those of parents are counted by VHDX_GET_POINTS
 * @gap_reason:		out: why changes since @most_recent_id can't be told, or
 *			why the sidecar was not resumed; else VHDX_REASON_NONE
 * @reason:		out: VHDX_REASON_* on failure
 * @generation:		out: becomes another one whenever a point comes or goes, a gap
 *			opens or closes, or tracking is switched. Of one attachment
 *			(see disk_seq) only
 * @gap_time_ns:	out: when that gap came about, nanoseconds since 1970 UTC; 0
 *			where there is none or nobody knows
 * @sidecar_used:	out: bytes of the sidecar in use; 0 where there is no sidecar
 * @sidecar_limit:	out: bytes that it can have; 0 where it grows on demand
 * @live_bytes:		out: how much changed since @most_recent_id, in whole units;
 *			VHDX_BYTES_UNKNOWN where that can't be told
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @points_max:		out: most points that a disk can have
 *
 * Mirrors GET_VIRTUAL_DISK_INFO_CHANGE_TRACKING_STATE {Enabled, NewerChanges,
 * MostRecentId}. Errors: ENODEV the disk was detached.
 */
struct vhdx_tracking_state {
	__u32 size;
	__u32 flags;
	__u32 state;
	__u32 newer_changes;
	struct vhdx_point_id most_recent_id;
	__u32 unit;
	__u32 point_count;
	__u32 gap_reason;
	__u32 reason;
	__aligned_u64 generation;
	__aligned_u64 gap_time_ns;
	__aligned_u64 sidecar_used;
	__aligned_u64 sidecar_limit;
	__aligned_u64 live_bytes;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 points_max;
};

#define VHDX_TRACKING_STATE_SIZE_VER0	120U

/* Flags of VHDX_TRACKING_ENABLE. */

/*
 * The file holds a sidecar that this disk can't use, because it is damaged or of another
 * disk: write a new one over it. Without the flag that is EEXIST; so is, with and
 * without it, a file that is neither empty nor a sidecar.
 */
#define VHDX_ENABLE_OVERWRITE	(1U << 0)

/**
 * struct vhdx_tracking_enable - argument of VHDX_TRACKING_ENABLE
 * @size:		sizeof(struct vhdx_tracking_enable)
 * @flags:		VHDX_ENABLE_*
 * @sidecar_fd:		an empty file, or a block device, open for reading and
 *			writing, to make the sidecar in; or -1 to switch on again
 *			the sidecar that is there but disabled
 * @unit:		wanted unit in bytes, power of two, or 0 for the default.
 *			It is doubled until a full map is at most 128 MiB.
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 * @first_point:	out: the point that enabling sealed
 *
 * Needs a descriptor open for writing. Errors: EALREADY tracking is enabled;
 * EEXIST see VHDX_ENABLE_OVERWRITE; EROFS; EBUSY the sidecar is in use, or a write to the
 * former one has not ended; ETIMEDOUT the container does not answer I/O that was sent to it
 * before (IN_USE): enable again when it does; ELOOP the sidecar lives on this very disk;
 * EBADF and EACCES @sidecar_fd is none, or is open otherwise; EINVAL; EIO; ENOSPC; ENOMEM;
 * EINTR killed.
 */
struct vhdx_tracking_enable {
	__u32 size;
	__u32 flags;
	__s32 sidecar_fd;
	__u32 unit;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
	struct vhdx_point_id first_point;
};

#define VHDX_TRACKING_ENABLE_SIZE_VER0	64U

/**
 * struct vhdx_tracking_disable - argument of VHDX_TRACKING_DISABLE
 * @size:		sizeof(struct vhdx_tracking_disable)
 * @flags:		zero
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * Writes are no longer recorded. The points stay in the sidecar, and what lay
 * between them can be queried again once tracking is enabled; everything after
 * the newest point is a gap (DISABLED). Needs a descriptor open for writing. Errors:
 * EALREADY, EROFS, EOPNOTSUPP (no sidecar), EIO, EINTR killed.
 */
struct vhdx_tracking_disable {
	__u32 size;
	__u32 flags;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_TRACKING_DISABLE_SIZE_VER0	24U

/**
 * struct vhdx_tracking_reset - argument of VHDX_TRACKING_RESET
 * @size:		sizeof(struct vhdx_tracking_reset)
 * @flags:		zero
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 * @first_point:	out: the point that the reset sealed
 *
 * Declares what was recorded since the newest point untrustworthy: a gap
 * (RESET), then a fresh point. Needs a descriptor open for writing. Errors, as for
 * sealing: EROFS; EOPNOTSUPP there is no sidecar in use; ENOSPC; ESTALE; EIO;
 * ENOMEM; EINTR killed.
 */
struct vhdx_tracking_reset {
	__u32 size;
	__u32 flags;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
	struct vhdx_point_id first_point;
};

#define VHDX_TRACKING_RESET_SIZE_VER0	56U

/* Bits of vhdx_point.flags. */
#define VHDX_POINT_HAS_DATA	(1U << 0)	/* its data can still be read */
#define VHDX_POINT_COARSE	(1U << 1)	/* more is reported before it than was written */
#define VHDX_POINT_DERIVED	(1U << 2)	/* what lies before it comes from a layer */

/**
 * struct vhdx_point - one point, as VHDX_GET_POINTS returns it
 * @id:			its id
 * @time_ns:		when it was sealed, nanoseconds since 1970 UTC; 0 of a snapshot: no
 *			container says that
 * @gap_time_ns:	when the gap before it came about, nanoseconds since 1970 UTC; 0
 *			where there is none or nobody knows
 * @virtual_disk_size:	size of the disk then, in bytes
 * @changed_bytes:	how much changed between the point before and this one, in
 *			whole units, at most the disk; VHDX_BYTES_UNKNOWN of the oldest
 *			point, where a gap lies before it, and where that is derived from
 *			a layer (VHDX_POINT_DERIVED)
 * @flags:		VHDX_POINT_HAS_DATA, VHDX_POINT_COARSE, VHDX_POINT_DERIVED
 * @layer:		position of the layer that it is on, 0 = the leaf
 * @gap_reason:		not VHDX_REASON_NONE if a gap lies just before it
 * @label_length:	bytes of @label in use
 * @label:		the label it was sealed with
 *
 * A snapshot is a parent, as it was frozen: its data can be read (VHDX_POINT_HAS_DATA). It
 * lies behind all references that were sealed while that layer was the leaf. What lies
 * before the first reference of a layer that has a parent is somewhere in the layer: to ask
 * for it tells all of that (VHDX_POINT_DERIVED and VHDX_POINT_COARSE).
 */
struct vhdx_point {
	struct vhdx_point_id id;
	__aligned_u64 time_ns;
	__aligned_u64 gap_time_ns;
	__aligned_u64 virtual_disk_size;
	__aligned_u64 changed_bytes;
	__u32 flags;
	__u32 layer;
	__u32 gap_reason;
	__u32 label_length;
	__u8 label[VHDX_LABEL_MAX];
};

#define VHDX_POINT_SIZE_VER0	144U

/**
 * struct vhdx_get_points - argument of VHDX_GET_POINTS
 * @size:		sizeof(struct vhdx_get_points)
 * @flags:		zero
 * @after:		only points behind this one; all zero: all of them
 * @output:		pointer to an array of struct vhdx_point
 * @output_capacity:	its length; 0 asks for @point_count only
 * @output_count:	out: how many were filled in, oldest first
 * @point_size:		size of its elements, sizeof(struct vhdx_point); may be 0
 *			where @output_capacity is
 * @point_count:	out: how many points there are, @after or not
 * @generation:		out: see struct vhdx_tracking_state. Pages of one list have the
 *			same one
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * All points of the disk, whatever layer they are on: of each layer, from the one without a
 * parent to the leaf, the references in its sidecar, and then, but of the leaf, the snapshot.
 *
 * Of a disk without parents and without a sidecar there are no points: success, and the
 * message says that tracking is not enabled. With one that can't be used there may be some:
 * ESTALE or EOPNOTSUPP, with the reason, as for VHDX_GET_VIRTUAL_DISK_CHANGES. If a disk has
 * parents, points of a layer whose sidecar can't be used are missing: success, with the
 * reason of that, and the message says which. Other errors: ENODATA/ID_MISSING
 * @after is not there (any more): read the list again; EINVAL; EFAULT; ENOMEM; ENODEV;
 * EINTR killed.
 */
struct vhdx_get_points {
	__u32 size;
	__u32 flags;
	struct vhdx_point_id after;
	__aligned_u64 output;
	__u32 output_capacity;
	__u32 output_count;
	__u32 point_size;
	__u32 point_count;
	__aligned_u64 generation;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_GET_POINTS_SIZE_VER0	88U

/**
 * struct vhdx_forget - argument of VHDX_FORGET
 * @size:		sizeof(struct vhdx_forget)
 * @flags:		zero
 * @id:			the point to forget
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * The deltas on both sides of the point become one; nothing that changed is
 * lost for the points that remain. Needs a descriptor open for writing. Errors:
 * EINVAL/ARGUMENT a snapshot; EROFS/READ_ONLY a reference in the sidecar of a parent, or
 * the disk is attached read-only; ENODATA unknown id; EBUSY the only point that is left
 * (disable tracking instead); EUCLEAN/INCONSISTENT what is
 * recorded beside the point is damaged in the sidecar: the point stays, and
 * queries that need the damaged part fail, too; ENOSPC no room for what the two
 * deltas become; EOPNOTSUPP; EIO; ENOMEM; EINTR killed.
 */
struct vhdx_forget {
	__u32 size;
	__u32 flags;
	struct vhdx_point_id id;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_FORGET_SIZE_VER0	56U

/* Flags of VHDX_GET_VIRTUAL_DISK_CHANGES. */

/*
 * The output is a bitmap: bit i % 8 of byte i / 8 is set if anything changed in granule
 * i from byte_offset on, which is a multiple of 64 granules. output_capacity, a multiple
 * of 8, and output_count are in bytes; bits behind the last granule are zero; range_size
 * and min_gap are zero.
 */
#define VHDX_CHANGES_BITMAP	(1U << 0)
/* Sums alone: no ranges are filled in; output and output_capacity are zero. */
#define VHDX_CHANGES_COUNT	(1U << 1)

/* Bits of vhdx_get_virtual_disk_changes.answer_flags. */

/*
 * More is reported than was written: whole regions, recovered after a crash; or all of a layer, in
 * which the target is a reference.
 */
#define VHDX_ANSWER_COARSE	(1U << 0)
/* Derived, at least in part, from the layers of a differencing chain. */
#define VHDX_ANSWER_DERIVED	(1U << 1)
/* The target is now: the answer may grow while the disk is written. */
#define VHDX_ANSWER_LIVE	(1U << 2)

/**
 * struct vhdx_get_virtual_disk_changes - argument of VHDX_GET_VIRTUAL_DISK_CHANGES
 * @size:		sizeof(struct vhdx_get_virtual_disk_changes)
 * @flags:		VHDX_CHANGES_*
 * @limit_id:		the baseline: changes since this point. Not zero.
 * @target_id:		changes until this point; all zero: until now
 * @byte_offset:	where to begin, in bytes
 * @byte_length:	how much of the disk to look at, in bytes; offset + length must
 *			not go beyond the disk
 * @granularity:	what is reported as a whole, in bytes: a power of two, not less than
 *			the unit; or 0 for the unit
 * @min_gap:		ranges closer to each other than so many bytes are reported as one,
 *			with what lies between; 0 for none
 * @output:		pointer to an array of struct vhdx_range, or to a bitmap
 * @output_capacity:	its length; 0 is EINVAL, except with VHDX_CHANGES_COUNT
 * @output_count:	out: how many ranges were filled in; with VHDX_CHANGES_COUNT 0
 * @range_size:		size of its elements: VHDX_RANGE_SIZE_VER0 or sizeof(struct
 *			vhdx_range); may be 0 with VHDX_CHANGES_COUNT
 * @time_limit_ms:	end early after so many milliseconds; 0: no limit
 * @processed_byte_length: out: how many bytes of @byte_length the ranges cover. Less
 *			than @byte_length only if the array was full, a signal is
 *			pending or the time ran out; the next call begins at
 *			byte_offset + this. Never zero on success unless byte_length
 *			is zero. Of a bitmap it is a multiple of 64 granules, unless all of
 *			it was processed.
 * @changed_bytes:	out: how much of that is reported as changed: the sum of the ranges,
 *			or of the granules. Where the target is now, a bitmap may differ from
 *			it by what is written during the call; it is never less than what had
 *			changed when the call began
 * @virtual_disk_size:	out: size of the disk in bytes, also on failure; 0 where no disk was
 *			asked: unknown or unsupported flags and fields
 * @disk_seq:		out: which attachment answered, as in struct vhdx_info; also on
 *			failure, likewise
 * @gap_time_ns:	out: with ESTALE, when the gap came about, nanoseconds since
 *			1970 UTC; 0 where nobody knows
 * @complete_to_id:	out: the target; all zero where the target is now
 * @unit:		out: in bytes, of what the answer is made of: the granularity, if it is not
 *			larger. The unit of the sidecar that has @limit_id; since a snapshot,
 *			the logical sector. Also where @byte_length is 0
 * @answer_flags:	out: VHDX_ANSWER_*
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * Hyper-V's GetVirtualDiskChanges(Path, LimitId, TargetSnapshotId, ByteOffset,
 * ByteLength). Opening the device for reading is enough. The ranges ascend, do
 * not touch each other, and are clipped to the request. A larger granularity and
 * min_gap make fewer ranges of them, of which all that changed is a part.
 *
 * Limit and target may be on any layers of the disk, the limit not behind the target. Since
 * a reference, what changed in its layer is what the sidecar of that layer recorded. What
 * changed in each layer that follows is derived from it (VHDX_ANSWER_DERIVED): whatever it
 * has itself, to the sector, and all that lies behind its parent's end. This needs no
 * sidecar. If the target is a reference in such a layer, all of that layer is reported, a
 * superset (VHDX_ANSWER_COARSE), which is an error if there is a gap behind the target.
 *
 * Ranges with flags, of sizeof(struct vhdx_range), are split where VHDX_RANGE_ZERO begins
 * and ends: two of them that touch differ in it. It holds for whole granules. What is joined
 * over min_gap is zero only if all of it is; zeroes shorter than min_gap are told as part of
 * the data beside them. To find them, containers may have to be read: ranges of
 * VHDX_RANGE_SIZE_VER0 cost nothing of that. Bitmaps and sums know no flags.
 *
 * Never empty in silence: whatever keeps the driver from being sure is an error.
 * EINVAL/ID_MALFORMED this is no id; EINVAL/ARGUMENT a range beyond the disk, a
 * target that lies before its limit; ENODATA/ID_MISSING; ESTALE a gap after the
 * limit, with the newest gap's cause as the reason, or an unknown id which a sidecar may
 * have that can't be used; EOPNOTSUPP/DISABLED tracking is not enabled, and it is about a
 * reference of the leaf, or there is no snapshot to answer from; EINTR killed, whatever
 * hangs; EFAULT; EIO a sidecar or a layer could not be read; ENOMEM; ENODEV.
 */
struct vhdx_get_virtual_disk_changes {
	__u32 size;
	__u32 flags;
	struct vhdx_point_id limit_id;
	struct vhdx_point_id target_id;
	__aligned_u64 byte_offset;
	__aligned_u64 byte_length;
	__aligned_u64 granularity;
	__aligned_u64 min_gap;
	__aligned_u64 output;
	__u32 output_capacity;
	__u32 output_count;
	__u32 range_size;
	__u32 time_limit_ms;
	__aligned_u64 processed_byte_length;
	__aligned_u64 changed_bytes;
	__aligned_u64 virtual_disk_size;
	__aligned_u64 disk_seq;
	__aligned_u64 gap_time_ns;
	struct vhdx_point_id complete_to_id;
	__u32 unit;
	__u32 answer_flags;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_GET_VIRTUAL_DISK_CHANGES_SIZE_VER0	224U

/* Flags of VHDX_GET_ALLOCATED_RANGES. */

/* Tell of what reads as zeroes, too, with VHDX_RANGE_ZERO. */
#define VHDX_ALLOCATED_ZEROES	(1U << 0)

/**
 * struct vhdx_get_allocated_ranges - argument of VHDX_GET_ALLOCATED_RANGES
 * @size:		sizeof(struct vhdx_get_allocated_ranges)
 * @flags:		VHDX_ALLOCATED_*
 * @byte_offset:	where to begin, in bytes
 * @byte_length:	how much of the disk to look at, in bytes
 * @min_gap:		ranges closer to each other than so many bytes are reported as one;
 *			zero with VHDX_ALLOCATED_ZEROES
 * @output:		pointer to an array of struct vhdx_range
 * @output_capacity:	its length
 * @output_count:	out: how many ranges were filled in
 * @range_size:		as in struct vhdx_get_virtual_disk_changes; the larger one with
 *			VHDX_ALLOCATED_ZEROES, which is told in the flags of a range
 * @time_limit_ms:	as there
 * @processed_byte_length: out: as there
 * @allocated_bytes:	out: the sum of the ranges that do not read as zeroes
 * @virtual_disk_size:	out: size of the disk in bytes, also on failure
 * @disk_seq:		out: which attachment answered, likewise
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * What a first, full backup has to copy: payload that is present in any layer of the
 * disk. Everything else read as zeroes when the call began. Seal a point first: what is
 * written from then on is in the changes since that point. Opening the device for
 * reading is enough; the disk need not be tracked. What can't be read is told as
 * allocated: whoever copies it gets the error. Errors: EINVAL/ARGUMENT; EIO/IO where
 * something is can't be read, or the container is lost; EINTR killed; EFAULT; ENOMEM;
 * ENODEV.
 */
struct vhdx_get_allocated_ranges {
	__u32 size;
	__u32 flags;
	__aligned_u64 byte_offset;
	__aligned_u64 byte_length;
	__aligned_u64 min_gap;
	__aligned_u64 output;
	__u32 output_capacity;
	__u32 output_count;
	__u32 range_size;
	__u32 time_limit_ms;
	__aligned_u64 processed_byte_length;
	__aligned_u64 allocated_bytes;
	__aligned_u64 virtual_disk_size;
	__aligned_u64 disk_seq;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_GET_ALLOCATED_RANGES_SIZE_VER0	104U

/**
 * struct vhdx_layer_info - one file that a disk is made of
 * @data_write_guid:	DataWriteGuid in its header; of a frozen layer the snapshot's id
 * @container_size:	its size in bytes
 * @container_inode:	which file it is: st_ino; 0 for a block device
 * @container_major:	the device of its file system, or the block device itself
 * @container_minor:	the same
 * @disk_flags:		VHDX_DISK_* as they are of this file
 * @reserved:		zero
 * @virtual_disk_size:	of the disk that it has, in bytes: a parent's may be smaller
 * @virtual_disk_id:	VirtualDiskId; usually the same in all of them
 * @block_size:		payload block size in bytes
 * @reserved2:		zero
 *
 * What a file is called, and whether it has a name at all, is in sysfs.
 */
struct vhdx_layer_info {
	__u8 data_write_guid[16];
	__aligned_u64 container_size;
	__aligned_u64 container_inode;
	__u32 container_major;
	__u32 container_minor;
	__u32 disk_flags;
	__u32 reserved;
	__aligned_u64 virtual_disk_size;
	__u8 virtual_disk_id[16];
	__u32 block_size;
	__u32 reserved2;
};

#define VHDX_LAYER_INFO_SIZE_VER0	48U

/**
 * struct vhdx_get_layers - argument of VHDX_GET_LAYERS
 * @size:		sizeof(struct vhdx_get_layers)
 * @flags:		zero
 * @output:		pointer to an array of struct vhdx_layer_info
 * @output_capacity:	its length; 0 asks for @layer_count only
 * @output_count:	out: how many were filled in, leaf first
 * @layer_size:		size of its elements, sizeof(struct vhdx_layer_info)
 * @layer_count:	out: how many layers there are
 * @message:		pointer to a buffer for a line of text: why not
 * @message_capacity:	its size in bytes
 * @reason:		out: VHDX_REASON_* on failure
 *
 * Errors: ENODEV the disk was detached.
 */
struct vhdx_get_layers {
	__u32 size;
	__u32 flags;
	__aligned_u64 output;
	__u32 output_capacity;
	__u32 output_count;
	__u32 layer_size;
	__u32 layer_count;
	__aligned_u64 message;
	__u32 message_capacity;
	__u32 reason;
};

#define VHDX_GET_LAYERS_SIZE_VER0	48U

#define VHDX_IOCTL_MAGIC	0xD7

/* On /dev/vhdx-control. ATTACH and DETACH need CAP_SYS_ADMIN. */
#define VHDX_ATTACH			_IO(VHDX_IOCTL_MAGIC, 0x00)
#define VHDX_DETACH			_IO(VHDX_IOCTL_MAGIC, 0x01)
#define VHDX_SEAL			_IO(VHDX_IOCTL_MAGIC, 0x02)

/* On /dev/vhdxcN. (w): the descriptor must be open for writing, else EBADF. */
#define VHDX_GET_INFO			_IO(VHDX_IOCTL_MAGIC, 0x20)
#define VHDX_GET_TRACKING_STATE		_IO(VHDX_IOCTL_MAGIC, 0x21)
#define VHDX_GET_POINTS			_IO(VHDX_IOCTL_MAGIC, 0x22)
#define VHDX_GET_VIRTUAL_DISK_CHANGES	_IO(VHDX_IOCTL_MAGIC, 0x23)
#define VHDX_GET_ALLOCATED_RANGES	_IO(VHDX_IOCTL_MAGIC, 0x24)
#define VHDX_GET_LAYERS			_IO(VHDX_IOCTL_MAGIC, 0x25)
#define VHDX_TRACKING_ENABLE		_IO(VHDX_IOCTL_MAGIC, 0x28)	/* (w) */
#define VHDX_TRACKING_DISABLE		_IO(VHDX_IOCTL_MAGIC, 0x29)	/* (w) */
#define VHDX_TRACKING_RESET		_IO(VHDX_IOCTL_MAGIC, 0x2a)	/* (w) */
#define VHDX_FORGET			_IO(VHDX_IOCTL_MAGIC, 0x2b)	/* (w) */
/* 0x2c … 0x2e are kept for making and merging snapshots and for another size. */

#endif /* _UAPI_LINUX_VHDX_H */
