/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvhdx: VHDX disks with Resilient Change Tracking.
 *
 * A thin library over the ioctls of <linux/vhdx.h>. It turns names into
 * descriptors, takes the locks that QEMU takes, finds sidecars, repeats what
 * has to be repeated, and answers questions about disks that are not attached
 * by reading their files.
 *
 * Errors
 *	A function that returns int returns 0 or a negative errno. After a
 *	failure vhdx_error_message() is one line for a person, which names the
 *	file, what is wrong with it and what to do, and vhdx_error_reason() is
 *	the VHDX_REASON_* that goes with it. Both belong to the calling thread
 *	and hold until its next call of the library.
 *
 * Names of disks
 *	/dev/vhdxN, vhdxN, N, any other path of its block device, or the path of
 *	its container (compared by device and inode, not as text).
 *
 * Threads
 *	Different threads may use the library at the same time, but one struct
 *	vhdx_disk only one after the other.
 *
 * Structures
 *	Those whose first member is size grow at their end in later versions. Set
 *	it to the sizeof that was compiled in before every call, also where the
 *	structure is an output only; sizes below the first published one
 *	(*_SIZE_VER0) are -EINVAL. What the library knows beyond that size is left
 *	out; what the caller knows beyond the library's is zero in an answer, and
 *	has to be zero in a question (-E2BIG). Sizes of array elements, and of what
 *	a callback is shown, are given by the caller in the same way. An id
 *	(struct vhdx_point_id) never grows.
 *
 * Debugging
 *	With LIBVHDX_DEBUG=1 in the environment, every request to the driver or to
 *	a file in its place is told on standard error, with what came of it.
 */
#ifndef LIBVHDX_H
#define LIBVHDX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vhdx.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VHDX_API __attribute__((visibility("default")))
/* A result that must not be ignored. */
#define VHDX_MUST_CHECK __attribute__((warn_unused_result))

/* ---- Errors ---------------------------------------------------------- */

/**
 * vhdx_error_message() - what went wrong last in this thread
 *
 * Return: one line of text without a newline; never NULL.
 */
VHDX_API const char *vhdx_error_message(void);

/**
 * vhdx_error_reason() - the VHDX_REASON_* of what went wrong last in this thread
 *
 * Return: VHDX_REASON_NONE where errno says it all.
 */
VHDX_API unsigned int vhdx_error_reason(void);

/**
 * vhdx_reason_name() - short name of a reason
 * @reason:	VHDX_REASON_*
 *
 * Return: the name as sysfs and vhdxctl show it, "none" for VHDX_REASON_NONE.
 */
VHDX_API const char *vhdx_reason_name(unsigned int reason);

/* Return values of Msvm_ImageManagementService.GetVirtualDiskChanges. */
#define VHDX_CODE_OK			0U
#define VHDX_CODE_JOB_STARTED		4096U
#define VHDX_CODE_FAILED		32768U
#define VHDX_CODE_ACCESS_DENIED		32769U
#define VHDX_CODE_NOT_SUPPORTED		32770U
#define VHDX_CODE_UNKNOWN		32771U
#define VHDX_CODE_TIMEOUT		32772U
#define VHDX_CODE_INVALID_PARAMETER	32773U
#define VHDX_CODE_IN_USE		32774U
#define VHDX_CODE_INVALID_STATE		32775U
#define VHDX_CODE_BAD_TYPE		32776U
#define VHDX_CODE_NOT_AVAILABLE		32777U
#define VHDX_CODE_OUT_OF_MEMORY		32778U
#define VHDX_CODE_FILE_NOT_FOUND	32779U

/**
 * vhdx_code_from_errno() - the return value of the Windows method for a failure
 * @error:	an errno, negative or positive; 0 is success
 * @reason:	VHDX_REASON_*
 *
 * Return: VHDX_CODE_*.
 */
VHDX_API unsigned int vhdx_code_from_errno(int error, unsigned int reason);

/**
 * vhdx_full_backup_needed() - must the next backup be a full one?
 * @error:	an errno, negative or positive
 * @reason:	VHDX_REASON_*
 *
 * Return: true for an id that is not known or is none, for any gap, and where
 * tracking is disabled. Everything else may be cured and tried again.
 */
VHDX_API bool vhdx_full_backup_needed(int error, unsigned int reason);

/* ---- Ids ------------------------------------------------------------- */

/* Room for the text form of an id, with its NUL. */
#define VHDX_ID_TEXT	64
/* Room for the text form of a GUID, with its NUL. */
#define VHDX_UUID_TEXT	37

/**
 * vhdx_id_parse() - read the text form of a point's id
 * @text:	rct:GUID:16 hex digits, {GUID} or GUID of a snapshot, or an id of
 *		Windows, rctX: and groups of 8:4:4:4:12:8 hex digits with colons
 *		between them; in any case, white space around it is ignored
 * @id:		filled in
 *
 * Return: 0; -EINVAL with VHDX_REASON_ID_MALFORMED.
 */
VHDX_API int vhdx_id_parse(const char *text, struct vhdx_point_id *id);

/**
 * vhdx_id_format() - write the text form of a point's id
 * @id:		the id
 * @text:	VHDX_ID_TEXT bytes
 */
VHDX_API void vhdx_id_format(const struct vhdx_point_id *id, char *text);

/**
 * vhdx_id_is_none() - is this the id of no point?
 * @id:		the id
 *
 * Return: true if it is all zero: as a target that means "now".
 */
VHDX_API bool vhdx_id_is_none(const struct vhdx_point_id *id);

/**
 * vhdx_uuid_format() - write a GUID as text
 * @guid:	16 bytes in the order of MS-VHDX
 * @text:	VHDX_UUID_TEXT bytes
 */
VHDX_API void vhdx_uuid_format(const uint8_t *guid, char *text);

/* ---- Attaching ------------------------------------------------------- */

/*
 * Flags of struct vhdx_attach_options, besides VHDX_ATTACH_READ_ONLY and
 * VHDX_ATTACH_NO_TRACK of <linux/vhdx.h>.
 */

/* Attach for writing even what a file beside it was made of: that one is lost then. */
#define VHDX_ATTACH_FORCE	(1U << 29)
/* Enable tracking where the disk has no sidecar yet, or a disabled one. */
#define VHDX_ATTACH_TRACK	(1U << 30)
/*
 * Rename Windows' FILE.rct and FILE.mrt to *.stale before the first write;
 * without it a read-write attach is refused while they are there.
 */
#define VHDX_ATTACH_RETIRE_RCT	(1U << 31)

/**
 * struct vhdx_attach_options - how to attach
 * @size:	sizeof(struct vhdx_attach_options)
 * @sidecar:	file or block device with the change tracking; NULL: FILE.lrct
 *		beside a container that is a file, none for a block device
 * @flags:	VHDX_ATTACH_*
 * @index:	wanted N of /dev/vhdxN, or VHDX_INDEX_ANY
 * @unit:	with VHDX_ATTACH_TRACK: tracking unit in bytes, 0 for the default
 * @parents:	as in struct vhdx_chain_options
 * @path_maps:	likewise
 */
struct vhdx_attach_options {
	size_t size;
	const char *sidecar;
	unsigned int flags;
	int index;
	uint32_t unit;
	const char *const *parents;
	const char *const *path_maps;
};

#define VHDX_ATTACH_OPTIONS_SIZE_VER0 \
	(offsetof(struct vhdx_attach_options, unit) + sizeof(uint32_t))

#define VHDX_DEVICE_NAME	32
#define VHDX_WARNING_TEXT	512

/**
 * struct vhdx_attached - what came of it
 * @size:	sizeof(struct vhdx_attached)
 * @index:	N of /dev/vhdxN
 * @reason:	why tracking was not resumed or begins with a gap: VHDX_REASON_*
 * @disk_seq:	tells this attachment from every other one, as in struct vhdx_info
 * @virtual_disk_id: VirtualDiskId, as in struct vhdx_info
 * @device:	path of the block device
 * @warning:	one line for a person, or empty: the disk is attached, but not
 *		everything is as one would wish
 */
struct vhdx_attached {
	size_t size;
	int index;
	unsigned int reason;
	uint64_t disk_seq;
	uint8_t virtual_disk_id[16];
	char device[VHDX_DEVICE_NAME];
	char warning[VHDX_WARNING_TEXT];
};

#define VHDX_ATTACHED_SIZE_VER0 \
	(offsetof(struct vhdx_attached, warning) + VHDX_WARNING_TEXT)

/**
 * vhdx_attach() - attach a VHDX as a block device
 * @container:	regular file or block device that holds the VHDX
 * @options:	how, or NULL for the defaults
 * @attached:	filled in; may be NULL
 *
 * The parents of a differencing disk are found as vhdx_chain_list() says, and
 * only read. A container that a file beside it was made of, by its locator, is not
 * attached for writing without VHDX_ATTACH_FORCE (-EBUSY).
 *
 * Takes QEMU's byte-range locks on the descriptor that the kernel keeps until
 * detach, so that QEMU's tools and the disk refuse each other. A sidecar that
 * can't be opened or resumed is a warning, not an error; with
 * VHDX_ATTACH_FAIL_TRACKING it is one, as is that there is none (-ENOENT) or that
 * it is disabled (-EINVAL), where the disk is written and VHDX_ATTACH_TRACK begins
 * none. Where VHDX_ATTACH_TRACK can't be fulfilled the disk is detached again.
 *
 * Return: 0 or a negative errno; -EEXIST where VHDX_ATTACH_TRACK finds a sidecar
 * that is not usable for this disk (vhdx_error_reason() says why), or one beside
 * the container that is of this disk, under another name (VHDX_REASON_NONE). Both
 * device nodes can be opened on return.
 */
VHDX_API int vhdx_attach(const char *container, const struct vhdx_attach_options *options,
			 struct vhdx_attached *attached);

/**
 * vhdx_is_held() - is the disk in use until an administrator ends that?
 * @index:	N of /dev/vhdxN
 * @text:	out: who, such as "/dev/vhdx0p1 is mounted on /mnt"; empty where there is nobody
 * @size:	room for it, with the NUL; it is cut
 *
 * Such are mounts in the caller's mount namespace, swap, device mapper and md. That nobody
 * of them is there does not mean that nobody has the disk open.
 */
VHDX_API bool vhdx_is_held(int index, char *text, size_t size);

/**
 * vhdx_detach() - detach a disk
 * @name:	name of the disk
 * @timeout_ms:	keep trying for this long while somebody has the disk open, as udev
 *		does when it is new, and when a writer closed it; 0: try once
 *
 * A disk that is attached under the same name meanwhile is left alone. One that is held
 * (vhdx_is_held()) is not waited for.
 *
 * On success vhdx_error_message() is empty, or says what the sidecar could not keep: then the
 * next backup must be a full one, or, where vhdx_error_reason() is VHDX_REASON_HOST_FULL or
 * VHDX_REASON_NO_SPACE, the next answer tells more than was written.
 *
 * Return: 0 or a negative errno; -EBUSY while it is open or mounted.
 */
VHDX_API int vhdx_detach(const char *name, unsigned int timeout_ms);

/**
 * vhdx_detach_attached() - detach what was attached, and nothing that came after it
 * @index:	N of /dev/vhdxN
 * @disk_seq:	as in struct vhdx_attached or struct vhdx_status; 0: whichever is there
 * @timeout_ms:	as in vhdx_detach()
 *
 * Says on success what vhdx_detach() does.
 *
 * Return: 0 or a negative errno; -ENODEV if it is gone, whatever has its number now.
 */
VHDX_API int vhdx_detach_attached(int index, uint64_t disk_seq, unsigned int timeout_ms);

/* ---- Attached disks -------------------------------------------------- */

#define VHDX_PATH_TEXT	4096
#define VHDX_STATE_TEXT	256

/**
 * struct vhdx_status - an attached disk as sysfs shows it
 * @size:	sizeof(struct vhdx_status)
 * @index:	N of /dev/vhdxN
 * @tracking:	VHDX_TRACKING_*
 * @reason:	why changes can't be told at present: VHDX_REASON_*
 * @unit:	tracking unit in bytes, 0 where there is none
 * @disk_size:	in bytes
 * @disk_seq:	tells this attachment from every other one, as in struct vhdx_info
 * @virtual_disk_id: VirtualDiskId, as in struct vhdx_info
 * @read_only:	attached read-only
 * @container_deleted: the container was removed: @container is what it was called
 * @sidecar_deleted: likewise
 * @device:	path of the block device
 * @io:		how the container is used: "direct", "buffered" or "block"
 * @scan:	the check that goes before the first allocation: "pending", "ok"
 *		or "failed: …"
 * @container:	path of the container, as the kernel sees it now
 * @sidecar:	path of the sidecar in use, likewise; empty where there is none
 * @container_unlinked: @container_deleted, and the file has no other name as far as is known:
 *		what is in it goes when the disk is detached
 * @strict:	attached with VHDX_ATTACH_STRICT
 * @fail_tracking: attached with VHDX_ATTACH_FAIL_TRACKING
 * @former_sidecar_deleted: it was removed while it was in use
 * @former_sidecar: path of the sidecar that failed, or was of no use at attach: its points can't
 *		be asked for, and vhdx_tracking_enable() goes on with it; else empty
 */
struct vhdx_status {
	size_t size;
	int index;
	unsigned int tracking;
	unsigned int reason;
	uint32_t unit;
	uint64_t disk_size;
	uint64_t disk_seq;
	uint8_t virtual_disk_id[16];
	bool read_only;
	bool container_deleted;
	bool sidecar_deleted;
	char device[VHDX_DEVICE_NAME];
	char io[16];
	char scan[VHDX_STATE_TEXT];
	char container[VHDX_PATH_TEXT];
	char sidecar[VHDX_PATH_TEXT];
	bool container_unlinked;
	bool strict;
	bool fail_tracking;
	bool former_sidecar_deleted;
	char former_sidecar[VHDX_PATH_TEXT];
};

#define VHDX_STATUS_SIZE_VER0	(offsetof(struct vhdx_status, sidecar) + VHDX_PATH_TEXT)

/**
 * typedef vhdx_status_fn - told of every attached disk
 * @context:	the caller's own
 * @status:	the disk; gone when the function returns
 *
 * Return: 0 to go on; a positive number ends the list and is returned; a negative
 * one ends it too, and -ECANCELED is returned.
 */
typedef int (*vhdx_status_fn)(void *context, const struct vhdx_status *status);

/**
 * vhdx_list() - tell of every attached disk, in the order of their numbers
 * @status_size: sizeof(struct vhdx_status): what @fn is shown
 * @fn:		told of each
 * @context:	handed to @fn
 *
 * Return: 0, a negative errno, or the positive number that @fn returned; -ENODEV
 * where the module is not loaded.
 */
VHDX_API int vhdx_list(size_t status_size, vhdx_status_fn fn, void *context);

/**
 * vhdx_find() - find an attached disk
 * @name:	name of the disk
 * @index:	out: N of /dev/vhdxN
 *
 * Of several disks that read one container, its path is the one that was attached by this very
 * path, if that is a single one.
 *
 * Return: 0; -ENODEV not attached; -ENOENT no such file; -EINVAL a partition, say, or the
 * container of several disks, which the message names; another errno.
 */
VHDX_API int vhdx_find(const char *name, int *index);

/**
 * vhdx_get_status() - what sysfs shows of one attached disk
 * @index:	N of /dev/vhdxN
 * @status:	its size is set by the caller, the rest is filled in
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_get_status(int index, struct vhdx_status *status);

/* ---- Chains ---------------------------------------------------------- */

/**
 * struct vhdx_chain_options - where the parents of a differencing disk are
 * @size:	sizeof(struct vhdx_chain_options)
 * @parents:	files or block devices, ended by NULL: the disk's parent, then that one's,
 *		and so on; NULL: none is named
 * @path_maps:	"FROM=TO", ended by NULL: what a path in a file begins with, in the syntax of
 *		Windows, and the directory that is meant, or the file or block device if
 *		FROM is all of the path; the first one that fits counts. NULL: none
 */
struct vhdx_chain_options {
	size_t size;
	const char *const *parents;
	const char *const *path_maps;
};

#define VHDX_CHAIN_OPTIONS_SIZE_VER0 \
	(offsetof(struct vhdx_chain_options, path_maps) + sizeof(const char *const *))

/**
 * struct vhdx_chain_layer - one file of a chain
 * @size:	as it was given to vhdx_chain_list()
 * @path:	of the file or block device, symbolic links followed; of an attached disk as the
 *		kernel sees it now
 * @virtual_disk_size: size of the disk in bytes
 * @virtual_disk_id: VirtualDiskId, MS-VHDX 2.6.2.4
 * @data_write_guid: DataWriteGuid, MS-VHDX 2.2.2: what its child knows it by
 * @block_size:	payload block size in bytes
 * @disk_flags:	VHDX_DISK_FIXED, VHDX_DISK_BLOCK; VHDX_DISK_REPLAYED: its log is dirty;
 *		VHDX_DISK_LOG_UNWRITTEN: see <linux/vhdx.h>. Of an attached disk all that
 *		VHDX_GET_LAYERS tells
 * @deleted:	of an attached disk: the file was removed: @path is what it was called
 * @unlinked:	likewise: and it has no other name
 * @changed:	likewise, of a parent: its header says that it was written since. What the disk has
 *		from it is not what it was; there is no telling what it is. That nothing says so
 *		does not mean that nobody wrote: it takes a program that keeps the rules of VHDX
 */
struct vhdx_chain_layer {
	size_t size;
	const char *path;
	uint64_t virtual_disk_size;
	uint8_t virtual_disk_id[16];
	uint8_t data_write_guid[16];
	uint32_t block_size;
	uint32_t disk_flags;
	bool deleted;
	bool unlinked;
	bool changed;
};

#define VHDX_CHAIN_LAYER_SIZE_VER0 \
	(offsetof(struct vhdx_chain_layer, disk_flags) + sizeof(uint32_t))

/**
 * typedef vhdx_chain_fn - told of every layer of a chain, leaf first
 * @context:	the caller's own
 * @layer:	gone when the function returns
 *
 * Return: 0 to go on; a positive number ends the list and is returned; a negative
 * one ends it too, and -ECANCELED is returned.
 */
typedef int (*vhdx_chain_fn)(void *context, const struct vhdx_chain_layer *layer);

/**
 * vhdx_chain_list() - tell of the files that a disk is made of
 * @container:	a VHDX that is not attached for writing
 * @options:	where its parents are; NULL: where the files say
 * @layer_size:	sizeof(struct vhdx_chain_layer): what @fn is shown
 * @fn:		told of each when it is known to be what its child was made of; of a disk
 *		without a parent, of one
 * @context:	handed to @fn
 *
 * The paths that a file has for its parent are in the syntax of Windows. They lead to
 * regular files below the file's own directory, through no symbolic link, or to where
 * a map has them lead; nothing else is opened unless it is named. Below the directory of
 * a file that is named, the paths in it count, too.
 *
 * Return: 0; -ENOENT a parent is not found; -EUCLEAN it is not what its child was made
 * of, or the chain leads back to itself; -EOPNOTSUPP more than VHDX_LAYERS_MAX files;
 * -EBUSY somebody writes one of them; another negative errno, or the positive number that
 * @fn returned.
 */
VHDX_API int vhdx_chain_list(const char *container, const struct vhdx_chain_options *options,
			     size_t layer_size, vhdx_chain_fn fn, void *context);

/**
 * vhdx_list_parents() - what sysfs shows of the parents of an attached disk, its own first
 * @index:	N of /dev/vhdxN
 * @layer_size:	sizeof(struct vhdx_chain_layer)
 * @fn:		told of each: @path, @deleted, @unlinked; @disk_flags has VHDX_DISK_LOST alone; the
 *		rest is zero
 * @context:	handed to @fn
 *
 * Needs no permission. Whose number it is now, and whether it is anybody's, is not asked.
 *
 * Return: as vhdx_list().
 */
VHDX_API int vhdx_list_parents(int index, size_t layer_size, vhdx_chain_fn fn, void *context);

/* ---- VHD Sets -------------------------------------------------------- */

/*
 * A VHD Set (.vhds) names the file beside it that its disk is in at present. Where a function takes
 * the path of a container, to attach it or to ask about it, that of a set stands for this file. The
 * list of snapshots in a set is not understood: those of the chain are known.
 */

/**
 * vhdx_set_find_active() - the file that the disk of a VHD Set is in
 * @path:	of any file
 * @active:	out: its path, to be given to free(3); NULL where @path is no set
 *
 * It is a regular file beside the set, which no symbolic link leads to. It need not be a VHDX.
 *
 * Return: 1; 0: @path is no set; -EUCLEAN the set is damaged; -EOPNOTSUPP it is of a version that
 * is not known; -ENOENT its file is not there; another negative errno.
 */
VHDX_API int vhdx_set_find_active(const char *path, char **active);

/**
 * struct vhdx_set_snapshot - a frozen file of a set's chain
 * @size:	as it was given to vhdx_set_list_snapshots()
 * @path:	of the file
 * @id:		of the snapshot, as a limit or a target: the file's DataWriteGuid
 * @parent:	that of the snapshot that it was made of; all zero: none
 * @time_ns:	when the file was last written, which is before it was frozen: nanoseconds since
 *		1970 UTC; 0: nobody knows
 */
struct vhdx_set_snapshot {
	size_t size;
	const char *path;
	struct vhdx_point_id id;
	struct vhdx_point_id parent;
	uint64_t time_ns;
};

#define VHDX_SET_SNAPSHOT_SIZE_VER0 \
	(offsetof(struct vhdx_set_snapshot, time_ns) + sizeof(uint64_t))

/**
 * typedef vhdx_set_snapshot_fn - told of every snapshot in a set's chain, newest first
 * @context:	the caller's own
 * @snapshot:	gone when the function returns
 *
 * Return: 0 to go on; a positive number ends the list and is returned; a negative
 * one ends it too, and -ECANCELED is returned.
 */
typedef int (*vhdx_set_snapshot_fn)(void *context, const struct vhdx_set_snapshot *snapshot);

/**
 * vhdx_set_list_snapshots() - the snapshots that the active file of a VHD Set was made of
 * @path:	of the set; its file may be attached
 * @snapshot_size: sizeof(struct vhdx_set_snapshot): what @fn is shown
 * @fn:		told of each
 * @context:	handed to @fn
 *
 * Those that it was not made of, in other branches, are not among them.
 *
 * Return: as vhdx_chain_list(); -EMEDIUMTYPE where @path is no set.
 */
VHDX_API int vhdx_set_list_snapshots(const char *path, size_t snapshot_size,
				     vhdx_set_snapshot_fn fn, void *context);

/* ---- Disks ----------------------------------------------------------- */

/**
 * struct vhdx_disk - an open disk: attached, or a file that is not
 */
struct vhdx_disk;

/* Open for sealing, forgetting and switching tracking; needs an attached disk. */
#define VHDX_OPEN_WRITE		(1U << 0)
/* Refuse a file that is not attached. */
#define VHDX_OPEN_ATTACHED	(1U << 1)

/**
 * vhdx_disk_open() - open a disk to ask questions about it
 * @name:	name of the disk, or a VHDX file that is not attached
 * @sidecar:	sidecar of a file that is not attached; NULL: FILE.lrct
 * @flags:	VHDX_OPEN_*
 * @disk:	out: to be closed with vhdx_disk_close()
 *
 * A file that is not attached is read, never written, under the locks that keep
 * QEMU and an attach from writing it meanwhile. Where its sidecar can't be
 * opened, questions that need it fail with what is wrong with it: those about
 * tracking and about its points. Not so vhdx_disk_get_info(), what is allocated,
 * and what the parents of a differencing disk know: their points, and changes
 * since a snapshot.
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_disk_open(const char *name, const char *sidecar, unsigned int flags,
			    struct vhdx_disk **disk);

/**
 * vhdx_disk_close() - close it
 * @disk:	may be NULL
 */
VHDX_API void vhdx_disk_close(struct vhdx_disk *disk);

/**
 * vhdx_disk_index() - which disk is it?
 * @disk:	the disk
 *
 * Return: N of /dev/vhdxN, or -1 for a file that is not attached.
 */
VHDX_API int vhdx_disk_index(const struct vhdx_disk *disk);

/**
 * vhdx_disk_open_data() - open the block device for reading what changed
 * @disk:	an attached disk
 *
 * With O_DIRECT, for the page cache of /dev/vhdxN does not see what a file
 * system that is mounted on it writes.
 *
 * Return: a descriptor to be closed by the caller, or a negative errno; -ENODEV
 * where @disk was detached, whatever has its name now.
 */
VHDX_API int vhdx_disk_open_data(struct vhdx_disk *disk);

/**
 * vhdx_disk_read() - read the content of a disk
 * @disk:	the disk, attached or not
 * @offset:	where to begin, in bytes: any
 * @buf:	filled in; need not be aligned
 * @length:	how much to read, in bytes: any
 *
 * Of an attached disk as vhdx_disk_open_data() has it: what is on the disk, around the page
 * cache; that is opened by the first call, and needs permission. Of a file that is not attached
 * through all of its parents, as far as they are found below its directory, and its log; the
 * offset of what can't be read is in the message.
 *
 * Return: 0 when all of it was read, or a negative errno; -EINVAL beyond the disk; -ENODEV it was
 * detached.
 */
VHDX_API int vhdx_disk_read(struct vhdx_disk *disk, uint64_t offset, void *buf, size_t length);

/**
 * vhdx_disk_get_info() - size and ids of a disk
 * @disk:	the disk
 * @info:	its size is set by the caller, the rest is filled in; for a file that is
 *		not attached index is -1, disk_seq 0, layer_count 0 if not all of its
 *		parents are found
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_disk_get_info(struct vhdx_disk *disk, struct vhdx_info *info);

/**
 * vhdx_disk_get_sidecar() - where changes of a disk are kept
 * @disk:	the disk
 * @path:	out: to be given to free(3); NULL where there is no sidecar. One of a
 *		file that is not attached need not be usable
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_disk_get_sidecar(struct vhdx_disk *disk, char **path);

/**
 * vhdx_disk_list_chain() - tell of the files that an attached disk is made of, leaf first
 * @disk:	open; attached
 * @layer_size:	sizeof(struct vhdx_chain_layer)
 * @fn:		told of each
 * @context:	handed to @fn
 *
 * Parents are looked into, where the caller may read them, for @changed.
 *
 * Return: as vhdx_list(); -ENODEV: not attached, or not any more.
 */
VHDX_API int vhdx_disk_list_chain(struct vhdx_disk *disk, size_t layer_size, vhdx_chain_fn fn,
				  void *context);

/**
 * vhdx_disk_get_tracking_state() - is it tracked, and what is its newest point?
 * @disk:	the disk
 * @state:	its size is set by the caller, the rest is filled in
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_disk_get_tracking_state(struct vhdx_disk *disk,
					  struct vhdx_tracking_state *state);

/**
 * vhdx_disk_get_points() - all points of a disk, oldest first
 * @disk:	the disk
 * @point_size:	sizeof(struct vhdx_point): size of the elements of @points
 * @points:	out: an array to be given to free(3); NULL where there are none
 * @count:	out: its length
 *
 * Of a differencing disk also those of its parents, and the snapshots between layers. Where
 * there are none because the disk is not tracked, and where those of some layer are not
 * known, vhdx_error_message() says so in spite of the success. Where there may be some, in a
 * sidecar that failed or can't be used, and there are no parents, it is an error, with the
 * reason.
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_disk_get_points(struct vhdx_disk *disk, size_t point_size,
				  struct vhdx_point **points, size_t *count);

/* As a length: to the end of the disk. */
#define VHDX_TO_END	UINT64_MAX

/**
 * typedef vhdx_progress_fn - told how far something is that may take long
 * @context:	the caller's own
 * @done:	how much of it is done
 * @total:	of how much; 0: that is not known
 *
 * Return: 0 to go on; a positive number ends it and is returned; a negative one ends it too,
 * and -ECANCELED is returned.
 */
typedef int (*vhdx_progress_fn)(void *context, uint64_t done, uint64_t total);

/**
 * struct vhdx_changes - a question about changes, and what is known of the answer
 * @size:	sizeof(struct vhdx_changes)
 * @limit:	changes since this point
 * @target:	changes until this point; all zero: until now
 * @offset:	where to begin, in bytes
 * @length:	how much of the disk to look at, in bytes, or VHDX_TO_END
 * @range_size:	sizeof(struct vhdx_range): what the callback is shown; 0: 24 bytes. Less than
 *		24: ranges without flags, for which the mapping need not be asked
 * @flags:	VHDX_CHANGES_COUNT: sums alone, there is no callback
 * @processed:	out: how much of it the answer covers: all of it on success
 * @disk_size:	out: size of the disk in bytes
 * @unit:	out: unit of the disk in bytes: the granularity, if it is not larger
 * @answer_flags: out: VHDX_ANSWER_*
 * @changed_bytes: out: the sum of the ranges
 * @disk_seq:	out: which attachment answered, as in struct vhdx_info; 0: a file
 * @gap_time_ns: out, with -ESTALE: when the gap came about, nanoseconds since 1970
 *		UTC; 0 where nobody knows
 * @granularity: what is told as a whole, in bytes: a power of two, not less than the
 *		unit; 0: the unit
 * @min_gap:	ranges closer to each other than so many bytes are told as one; 0: none
 * @progress:	told of the length how much is processed, every now and then; may be NULL. Of an
 *		iterator, a positive number that it returns is -ECANCELED, too
 * @progress_context: handed to @progress
 */
struct vhdx_changes {
	size_t size;
	struct vhdx_point_id limit;
	struct vhdx_point_id target;
	uint64_t offset;
	uint64_t length;
	size_t range_size;
	unsigned int flags;
	uint32_t unit;
	uint64_t processed;
	uint64_t disk_size;
	uint64_t changed_bytes;
	uint64_t disk_seq;
	uint64_t gap_time_ns;
	uint32_t answer_flags;
	uint64_t granularity;
	uint64_t min_gap;
	vhdx_progress_fn progress;
	void *progress_context;
};

#define VHDX_CHANGES_SIZE_VER0 \
	(offsetof(struct vhdx_changes, answer_flags) + sizeof(uint32_t))

/**
 * typedef vhdx_range_fn - told of every changed range
 * @context:	the caller's own
 * @range:	ascending, never touching the one before, unless its flags are others
 *
 * Return: 0 to go on; a positive number ends the query and is returned; a
 * negative one ends it too, and -ECANCELED is returned: an errno of the caller's
 * own can't be mistaken for the library's.
 */
typedef int (*vhdx_range_fn)(void *context, const struct vhdx_range *range);

/**
 * vhdx_disk_get_changes() - what changed between two points
 * @disk:	the disk
 * @changes:	the question, and what is known of the answer
 * @fn:		told of each range; NULL with VHDX_CHANGES_COUNT
 * @context:	handed to @fn
 *
 * Asks until all of the length is processed. Ranges told before a failure are
 * not the whole answer: throw them away.
 *
 * Return: 0 when all of it was processed, a negative errno, or the positive
 * number that @fn returned.
 */
VHDX_API int vhdx_disk_get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes,
				   vhdx_range_fn fn, void *context);

struct vhdx_changes_iter;

/**
 * vhdx_changes_begin() - what changed between two points, one range after the other
 * @disk:	the disk; stays open until vhdx_changes_end()
 * @question:	its inputs are copied; VHDX_CHANGES_COUNT is not for this
 * @iter:	out: to be given to vhdx_changes_end(); NULL after a failure
 *
 * Asks nothing yet. Of several threads one uses it at a time.
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_changes_begin(struct vhdx_disk *disk, const struct vhdx_changes *question,
				struct vhdx_changes_iter **iter);

/**
 * vhdx_changes_next() - the next range
 * @iter:	see vhdx_changes_begin()
 * @range:	out: as for vhdx_range_fn
 * @range_size:	sizeof(struct vhdx_range); whether there are flags, the question's says
 *
 * Return: 1 a range; 0 all was told; a negative errno, which stays.
 */
VHDX_API int vhdx_changes_next(struct vhdx_changes_iter *iter, struct vhdx_range *range,
			       size_t range_size);

/**
 * vhdx_changes_position() - where another question can go on
 * @iter:	see vhdx_changes_begin()
 *
 * Return: an offset on the disk in bytes: every range before it was told.
 */
VHDX_API uint64_t vhdx_changes_position(const struct vhdx_changes_iter *iter);

/**
 * vhdx_changes_end() - was that all?
 * @iter:	see vhdx_changes_begin(); it is freed
 * @answer:	out: its size is set by the caller; may be NULL
 *
 * Return: 0 only if vhdx_changes_next() has returned 0; its failure; -ECANCELED: there is
 * more. Who does not look at it may take a part of the changes for all of them.
 */
VHDX_API VHDX_MUST_CHECK int vhdx_changes_end(struct vhdx_changes_iter *iter,
					      struct vhdx_changes *answer);

/**
 * struct vhdx_bitmap - a question about changes, answered by bits
 * @size:	sizeof(struct vhdx_bitmap)
 * @limit:	changes since this point
 * @target:	changes until this point; all zero: until now
 * @offset:	where to begin, in bytes: a multiple of 64 granules
 * @length:	how much of the disk to look at, in bytes, or VHDX_TO_END; out: how much
 *		that is
 * @granularity: bytes of the disk for a bit: a power of two, not less than the unit; or 0
 *		for the unit; out: which it is
 * @processed:	out: how much of it the answer covers: all of it on success
 * @disk_size:	out: size of the disk in bytes
 * @answer_flags: out: VHDX_ANSWER_*
 */
struct vhdx_bitmap {
	size_t size;
	struct vhdx_point_id limit;
	struct vhdx_point_id target;
	uint64_t offset;
	uint64_t length;
	uint64_t granularity;
	uint64_t processed;
	uint64_t disk_size;
	uint32_t answer_flags;
};

#define VHDX_BITMAP_SIZE_VER0 \
	(offsetof(struct vhdx_bitmap, answer_flags) + sizeof(uint32_t))

/**
 * vhdx_bitmap_bytes() - room that a bitmap needs
 * @length:	of what it covers, in bytes
 * @granularity: bytes for a bit
 *
 * Return: bytes, a multiple of 8.
 */
VHDX_API uint64_t vhdx_bitmap_bytes(uint64_t length, uint64_t granularity);

/**
 * vhdx_disk_get_change_bitmap() - what changed between two points, a bit for each granule
 * @disk:	the disk
 * @bitmap:	the question, and what is known of the answer
 * @bits:	filled in: bit i % 8 of byte i / 8 is granule i from @bitmap->offset on; what
 *		lies behind the last granule is zero
 * @bits_size:	room, in bytes: vhdx_bitmap_bytes() at least
 *
 * Return: 0 when all of it was processed, or a negative errno; then the bits mean nothing.
 */
VHDX_API int vhdx_disk_get_change_bitmap(struct vhdx_disk *disk, struct vhdx_bitmap *bitmap,
					 void *bits, size_t bits_size);

/**
 * struct vhdx_allocated - a question about what a disk has at all
 * @size:	sizeof(struct vhdx_allocated)
 * @flags:	VHDX_ALLOCATED_ZEROES: told of the rest, too, with VHDX_RANGE_ZERO
 * @offset:	where to begin, in bytes
 * @length:	how much of the disk to look at, in bytes, or VHDX_TO_END
 * @min_gap:	ranges closer to each other than so many bytes are told as one; 0: none
 * @processed:	out: how much of it the answer covers: all of it on success
 * @disk_size:	out: size of the disk in bytes
 * @progress:	as in struct vhdx_changes
 * @progress_context: likewise
 */
struct vhdx_allocated {
	size_t size;
	unsigned int flags;
	uint64_t offset;
	uint64_t length;
	uint64_t min_gap;
	uint64_t processed;
	uint64_t disk_size;
	vhdx_progress_fn progress;
	void *progress_context;
};

#define VHDX_ALLOCATED_SIZE_VER0 \
	(offsetof(struct vhdx_allocated, disk_size) + sizeof(uint64_t))

/**
 * vhdx_disk_get_allocated() - what a first, full backup has to copy
 * @disk:	the disk; of a file that is not attached, with the parents that are found below its
 *		directory
 * @question:	and what is known of the answer
 * @fn:		told of each range; what is not told reads as zeroes
 * @context:	handed to @fn
 *
 * Seal a point first: what is written from then on is in the changes since that point.
 *
 * Return: 0 when all of it was processed, a negative errno, or the positive number that @fn
 * returned. Ranges told before a failure are not all.
 */
VHDX_API int vhdx_disk_get_allocated(struct vhdx_disk *disk, struct vhdx_allocated *question,
				     vhdx_range_fn fn, void *context);

/**
 * vhdx_disk_get_changes_once() - the ioctl as it is, of a file that is not attached too
 * @disk:	the disk
 * @query:	see <linux/vhdx.h>; size, and that of a range, are the caller's
 *
 * Return: 0, possibly with less processed than asked for, or a negative errno.
 */
VHDX_API int vhdx_disk_get_changes_once(struct vhdx_disk *disk,
					struct vhdx_get_virtual_disk_changes *query);

/**
 * vhdx_seal() - seal one point on each of several disks at the same instant
 * @disks:	disks opened with VHDX_OPEN_WRITE
 * @count:	how many
 * @label:	at most VHDX_LABEL_MAX bytes of UTF-8 without control characters to
 *		know the points by, or NULL
 * @ids:	filled in, one a disk
 * @failed:	out, on failure: the position of the disk that failed, 0 where it was
 *		none of them; may be NULL
 *
 * Return: 0, or a negative errno and no point exists.
 */
VHDX_API int vhdx_seal(struct vhdx_disk *const *disks, size_t count, const char *label,
		       struct vhdx_point_id *ids, size_t *failed);

/**
 * vhdx_forget() - forget a point
 * @disk:	opened with VHDX_OPEN_WRITE
 * @id:		which
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_forget(struct vhdx_disk *disk, const struct vhdx_point_id *id);

/* ---- Making a container ---------------------------------------------- */

/* Types of disks without a parent. */
#define VHDX_TYPE_DYNAMIC	0U	/* grows as it is written */
#define VHDX_TYPE_FIXED		1U	/* has all of its space from the beginning */
#define VHDX_TYPE_RAW		2U	/* no VHDX, for vhdx_convert() alone: the disk's bytes */

/**
 * struct vhdx_create_options - what the new disk is to be like
 * @size:	sizeof(struct vhdx_create_options)
 * @parent:	makes a differencing disk of this one, which is not to be written from then on;
 *		NULL: the new disk has no parent
 * @disk_size:	in bytes; of a differencing disk 0: it is its parent's
 * @type:	VHDX_TYPE_*; of a differencing disk VHDX_TYPE_DYNAMIC
 * @block_size:	in bytes, a power of two from 1 MiB to 256 MiB; 0: 32 MiB, or 2 MiB of a fixed
 *		and of a differencing one
 * @logical_sector_size: 512 or 4096; 0: 512, or the parent's, which it has to be
 * @physical_sector_size: 512 or 4096; 0: 4096, or the parent's
 * @log_size:	in bytes, whole MiB; 0: 1 MiB
 * @progress:	told how much of the space of a fixed disk is there, and asked whether to go on
 *		with any; may be NULL
 * @context:	handed to @progress
 */
struct vhdx_create_options {
	size_t size;
	const char *parent;
	uint64_t disk_size;
	unsigned int type;
	uint32_t block_size;
	uint32_t logical_sector_size;
	uint32_t physical_sector_size;
	uint64_t log_size;
	vhdx_progress_fn progress;
	void *context;
};

#define VHDX_CREATE_OPTIONS_SIZE_VER0 \
	(offsetof(struct vhdx_create_options, context) + sizeof(void *))

/**
 * vhdx_create() - make a VHDX
 * @path:	a file that is not there yet, or a block device whose first MiB is zero
 * @options:	what it is to be like
 *
 * Whatever happens, nothing looks like a VHDX until it is a whole one, which is durable when this
 * returns. After a failure the file is gone, or the first MiB of the device zero again; a crash
 * leaves a file that is no VHDX.
 *
 * A differencing disk names its parent by the state that this has now, and by its paths: relative
 * to the new file, and as a whole. On success vhdx_error_message() is empty, or says that an attach
 * will not find the parents by these paths, and has to be told where they are.
 *
 * Return: 0, a negative errno, or the positive number that the caller's function returned;
 * -EEXIST where something is there already; -EOPNOTSUPP where the chain would be longer than
 * VHDX_LAYERS_MAX.
 */
VHDX_API int vhdx_create(const char *path, const struct vhdx_create_options *options);

/* ---- Converting a container ------------------------------------------ */

/* The source is a raw image: whatever is in it is the content of the disk. */
#define VHDX_CONVERT_FROM_RAW	(1U << 0)

/**
 * struct vhdx_convert_options - from what to what
 * @size:	sizeof(struct vhdx_convert_options)
 * @flags:	VHDX_CONVERT_*
 * @type:	VHDX_TYPE_*: what is made
 * @parents:	of the source, as in struct vhdx_chain_options
 * @path_maps:	likewise
 * @block_size:	of the new VHDX, as in struct vhdx_create_options; so are the next three
 * @logical_sector_size: 0: the source's, which it has to be if that is a VHDX; of a raw image 512,
 *		or its device's
 * @physical_sector_size: 0: the source's; of a raw image 4096, or its device's
 * @log_size:	0: 1 MiB
 * @progress:	told how much of a fixed disk's space is there, and then how much of the content of
 *		any disk; may be NULL
 * @context:	handed to @progress
 */
struct vhdx_convert_options {
	size_t size;
	unsigned int flags;
	unsigned int type;
	const char *const *parents;
	const char *const *path_maps;
	uint32_t block_size;
	uint32_t logical_sector_size;
	uint32_t physical_sector_size;
	uint64_t log_size;
	vhdx_progress_fn progress;
	void *context;
};

#define VHDX_CONVERT_OPTIONS_SIZE_VER0 \
	(offsetof(struct vhdx_convert_options, context) + sizeof(void *))

/**
 * vhdx_convert() - copy a disk into a new file of another kind
 * @source:	a VHDX that is not attached for writing, whose parents are found as
 *		vhdx_chain_list() says; or a raw image
 * @target:	a file that is not there yet, or a block device whose first MiB is zero
 * @options:	from what to what; NULL: from a VHDX to a dynamic one
 *
 * The source and its parents are read, never written, under the locks that keep QEMU and an attach
 * from writing them meanwhile; a dirty log is replayed in memory. A raw image on a device is opened
 * exclusively. The new disk has no parent and ids of its own, so it has no history of changes. What
 * reads as zeroes takes no space in it, unless it is fixed.
 *
 * Whatever happens, nothing looks like a VHDX until it is a whole one, which is durable when this
 * returns; of a raw image the first MiB is written last. After a failure the file is gone, or the
 * first MiB of the device zero again.
 *
 * The size of a raw image is rounded up to whole sectors. On success vhdx_error_message() is empty,
 * or says that it was, or that the device is larger than the raw disk on it.
 *
 * Return: 0, a negative errno, or the positive number that the caller's function returned;
 * -EEXIST where something is there already, -EINVAL where it is the source, -ENOSPC.
 */
VHDX_API int vhdx_convert(const char *source, const char *target,
			  const struct vhdx_convert_options *options);

/* ---- Checking a container -------------------------------------------- */

/* How bad a finding is. */
#define VHDX_FINDING_NOTE	0U	/* worth knowing */
#define VHDX_FINDING_WARNING	1U	/* not as it should be written, and does no harm */
#define VHDX_FINDING_ERROR	2U	/* a block can't be read, or none can be written */
#define VHDX_FINDING_FATAL	3U	/* it can't be attached */

#define VHDX_FINDING_TEXT	256

/**
 * struct vhdx_finding - something that is to be said of a container
 * @severity:	VHDX_FINDING_*
 * @reason:	VHDX_REASON_* that an attach, or the use of the block, fails with; or
 *		VHDX_REASON_NONE
 * @text:	one line: which structure, where, what
 */
struct vhdx_finding {
	unsigned int severity;
	unsigned int reason;
	char text[VHDX_FINDING_TEXT];
};

#define VHDX_FINDING_SIZE_VER0	(offsetof(struct vhdx_finding, text) + VHDX_FINDING_TEXT)

/**
 * typedef vhdx_finding_fn - told of every finding
 * @context:	the caller's own
 * @finding:	gone when the function returns
 *
 * Return: 0 to go on; a positive number ends the check and is returned; a negative one ends it
 * too, and -ECANCELED is returned.
 */
typedef int (*vhdx_finding_fn)(void *context, const struct vhdx_finding *finding);

/* Mend what can be mended without a guess. */
#define VHDX_CHECK_REPAIR	(1U << 0)

/* What was mended. */
#define VHDX_REPAIRED_NOTHING	0U
#define VHDX_REPAIRED_REPLAY	1U	/* the log was replayed */
#define VHDX_REPAIRED_LOG	2U	/* the header named a log of which nothing was written */

/**
 * struct vhdx_check - how to check, and what came of it
 * @size:	sizeof(struct vhdx_check)
 * @finding_size: sizeof(struct vhdx_finding): what the callback is shown
 * @flags:	VHDX_CHECK_*
 * @repaired:	out: VHDX_REPAIRED_*
 * @warnings:	out: findings that are warnings
 * @errors:	out: findings that are errors, or fatal
 */
struct vhdx_check {
	size_t size;
	size_t finding_size;
	unsigned int flags;
	unsigned int repaired;
	uint64_t warnings;
	uint64_t errors;
};

#define VHDX_CHECK_SIZE_VER0	(offsetof(struct vhdx_check, errors) + sizeof(uint64_t))

/**
 * vhdx_check() - find everything that is wrong with a container
 * @path:	file or block device that is not attached
 * @check:	how, and what came of it
 * @fn:		told of each finding; with VHDX_CHECK_REPAIR, of what there is after it
 * @context:	handed to @fn
 *
 * By the code of the driver: what is fatal, it refuses for the same reason. A dirty log is looked
 * through, and a differencing disk is looked at without its parents. With VHDX_CHECK_REPAIR a dirty
 * log is replayed, and where QEMU was killed before it wrote the first entry of the log that the
 * header names, the header says again that there is none. Nothing else is ever written.
 *
 * Return: 0, whatever was found; a negative errno where it could not be checked; or the positive
 * number that @fn returned.
 */
VHDX_API int vhdx_check(const char *path, struct vhdx_check *check, vhdx_finding_fn fn,
			void *context);

/* ---- Looking into a container ---------------------------------------- */

/**
 * struct vhdx_layout_header - one of the two headers of a container; never grows
 * @offset:	where it is in the container
 * @sequence:	SequenceNumber
 * @file_write_guid: 16 bytes in the order of MS-VHDX, as are the other two
 * @data_write_guid: what a child names its parent by
 * @log_guid:	not zero: there may be something to replay
 * @current:	the one that counts
 * @fault:	what is wrong with it, and then nothing above but @offset is meant; empty: nothing
 */
struct vhdx_layout_header {
	uint64_t offset;
	uint64_t sequence;
	uint8_t file_write_guid[16];
	uint8_t data_write_guid[16];
	uint8_t log_guid[16];
	bool current;
	char fault[64];
};

/* Index of a state of payload blocks in @blocks below: its value in MS-VHDX 2.5.1.1. */
#define VHDX_STATE_NOT_PRESENT		0
#define VHDX_STATE_UNDEFINED		1
#define VHDX_STATE_ZERO			2
#define VHDX_STATE_UNMAPPED		3
#define VHDX_STATE_FULLY_PRESENT	6
#define VHDX_STATE_PARTIALLY_PRESENT	7
#define VHDX_STATES			8

#define VHDX_CREATOR_TEXT	1024

/**
 * struct vhdx_layout - what is where in a container
 * @size:	sizeof(struct vhdx_layout)
 * @has_parent:	a differencing disk
 * @log_dirty:	the log has to be replayed
 * @windows_rct: Windows' change tracking, FILE.rct, lies beside it
 * @windows_mrt: likewise FILE.mrt
 * @log_entries: to be replayed
 * @log_length:	in bytes, 0: there is no log
 * @log_offset:	of the log in the container
 * @container_size: in bytes
 * @bat_offset:	of the block allocation table in the container
 * @bat_length:	of the region that it is in, in bytes
 * @bat_entries: that are in use, those of sector bitmaps included
 * @block_count: payload blocks of the disk
 * @blocks:	payload blocks in each state, VHDX_STATE_*
 * @bad_entries: of the table that can't be used
 * @bitmap_blocks: sector bitmap blocks that are present
 * @payload_bytes: what the blocks that have data take in the container
 * @headers:	both
 * @creator:	the program that made it, as it says itself: UTF-8
 */
struct vhdx_layout {
	size_t size;
	bool has_parent;
	bool log_dirty;
	bool windows_rct;
	bool windows_mrt;
	uint32_t log_entries;
	uint32_t log_length;
	uint64_t log_offset;
	uint64_t container_size;
	uint64_t bat_offset;
	uint64_t bat_length;
	uint64_t bat_entries;
	uint64_t block_count;
	uint64_t blocks[VHDX_STATES];
	uint64_t bad_entries;
	uint64_t bitmap_blocks;
	uint64_t payload_bytes;
	struct vhdx_layout_header headers[2];
	char creator[VHDX_CREATOR_TEXT];
};

#define VHDX_LAYOUT_SIZE_VER0 \
	(offsetof(struct vhdx_layout, creator) + VHDX_CREATOR_TEXT)

/**
 * vhdx_disk_get_layout() - what is where in the container of a disk
 * @disk:	a file that is not attached
 * @layout:	its size is set by the caller, the rest is filled in
 *
 * Reads all of the block allocation table. A dirty log is looked through, and not replayed.
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP where @disk is attached.
 */
VHDX_API int vhdx_disk_get_layout(struct vhdx_disk *disk, struct vhdx_layout *layout);

#define VHDX_PART_TEXT	32

/* What struct vhdx_part is about. */
#define VHDX_PART_REGION	0U
#define VHDX_PART_ITEM		1U	/* of the metadata */

/* Flags of a part. */
#define VHDX_PART_REQUIRED	(1U << 0)
#define VHDX_PART_USER		(1U << 1)	/* a user's item, not the system's */
#define VHDX_PART_VIRTUAL_DISK	(1U << 2)	/* of the disk, not of the file */

/**
 * struct vhdx_part - an entry of the region table or of the metadata table
 * @offset:	in the container; 0 for an item without a value
 * @length:	in bytes
 * @guid:	which one: 16 bytes in the order of MS-VHDX
 * @flags:	VHDX_PART_*
 * @name:	empty: not known here
 */
struct vhdx_part {
	uint64_t offset;
	uint64_t length;
	uint8_t guid[16];
	uint32_t flags;
	char name[VHDX_PART_TEXT];
};

#define VHDX_PART_SIZE_VER0	(offsetof(struct vhdx_part, name) + VHDX_PART_TEXT)

/**
 * vhdx_disk_get_parts() - all regions of a container, or all items of its metadata
 * @disk:	a file that is not attached
 * @kind:	VHDX_PART_REGION or VHDX_PART_ITEM
 * @part_size:	sizeof(struct vhdx_part): size of the elements of @parts
 * @parts:	out: an array to be given to free(3), in the order of the table
 * @count:	out: its length
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP where @disk is attached.
 */
VHDX_API int vhdx_disk_get_parts(struct vhdx_disk *disk, unsigned int kind, size_t part_size,
				 struct vhdx_part **parts, size_t *count);

/* ---- Switching tracking ---------------------------------------------- */

/**
 * vhdx_tracking_enable() - begin to record changes
 * @disk:	opened with VHDX_OPEN_WRITE
 * @sidecar:	file (made if it is not there) or block device to keep them in;
 *		NULL: the one that failed, if tracking is off for that; else FILE.lrct
 *		beside a container that is a file
 * @unit:	granularity in bytes, 0 for the default
 * @first_point: out: the point that enabling sealed; may be NULL
 *
 * Where tracking was disabled it goes on in the sidecar that is there. A new
 * file gets the container's owner and mode, and is removed again on failure.
 *
 * Return: 0 or a negative errno; -EALREADY where it is enabled; -EEXIST where
 * the file holds something else (see vhdx_tracking_reset()), or where none was
 * named, and one beside the container is of this disk, under another name;
 * -ENOENT where the one that failed is not there any more, or empty;
 * -ETIMEDOUT where the container does not answer what was sent to it before.
 */
VHDX_API int vhdx_tracking_enable(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
				  struct vhdx_point_id *first_point);

/**
 * vhdx_tracking_disable() - stop recording changes
 * @disk:	opened with VHDX_OPEN_WRITE
 *
 * Return: 0 or a negative errno.
 */
VHDX_API int vhdx_tracking_disable(struct vhdx_disk *disk);

/**
 * vhdx_tracking_reset() - begin afresh: nothing recorded so far is to be trusted
 * @disk:	opened with VHDX_OPEN_WRITE
 * @sidecar:	as in vhdx_tracking_enable()
 * @unit:	as in vhdx_tracking_enable(), for a sidecar that is written anew
 * @first_point: out: the point that the reset sealed; may be NULL
 *
 * A sidecar that is damaged or not this disk's is written anew, and its points
 * are gone.
 *
 * Return: 0 or a negative errno; -EEXIST for what is neither empty nor a sidecar,
 * and for the sidecar of another disk where @sidecar names it.
 */
VHDX_API int vhdx_tracking_reset(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
				 struct vhdx_point_id *first_point);

/**
 * vhdx_tracking_verify() - read all of a sidecar and check every checksum
 * @name:	name of the disk, or a VHDX file that is not attached
 * @sidecar:	its sidecar; NULL: the one that the disk uses, or FILE.lrct if it uses none
 * @point_count: out: points in it; may be NULL
 *
 * That a sound one which was named is another disk's is no error: vhdx_error_message() says so.
 *
 * Return: 0; -EUCLEAN damaged; -ENOENT no sidecar; -EMEDIUMTYPE no VHDX, where no sidecar is
 * beside it; another negative errno.
 */
VHDX_API int vhdx_tracking_verify(const char *name, const char *sidecar, size_t *point_count);

/* ---- The Windows method ---------------------------------------------- */

/**
 * struct vhdx_job - a question that a thread of its own asks
 */
struct vhdx_job;

/**
 * vhdx_get_virtual_disk_changes() - Msvm_ImageManagementService.GetVirtualDiskChanges
 * @path:		of a container, of a VHD Set, or of a disk's device (/dev/vhdxN); absolute
 * @limit_id:		text of the baseline's id
 * @target_snapshot_id: of a snapshot; as in Windows only valid for VHD Sets. NULL or "": none
 * @byte_offset:	where to begin
 * @byte_length:	how much of the disk to look at
 * @processed_byte_length: out: all of it, or 0 after a failure
 * @ranges:		out: an array to be given to free(3)
 * @range_count:	out: its length
 * @job:		NULL: wait for the answer. Else out: a job that gives it;
 *			the three outputs above may be NULL and are not touched
 *
 * A path is that of an attached disk only if it is its leaf; every other file, a parent of a
 * disk that is attached among them, is itself read, under the locks of vhdx_disk_open().
 *
 * Return: VHDX_CODE_OK, VHDX_CODE_JOB_STARTED if @job was given, or why not;
 * vhdx_error_message() has it in words.
 */
VHDX_API unsigned int vhdx_get_virtual_disk_changes(const char *path, const char *limit_id,
						    const char *target_snapshot_id,
						    uint64_t byte_offset, uint64_t byte_length,
						    uint64_t *processed_byte_length,
						    struct vhdx_range **ranges,
						    size_t *range_count, struct vhdx_job **job);

/* JobState of Msvm_StorageJob. A job that somebody has is past the first one. */
#define VHDX_JOB_NEW		2U
#define VHDX_JOB_STARTING	3U
#define VHDX_JOB_RUNNING	4U
#define VHDX_JOB_SHUTTING_DOWN	6U
/* Those of an end, which stay. */
#define VHDX_JOB_COMPLETED	7U
#define VHDX_JOB_TERMINATED	8U
#define VHDX_JOB_KILLED		9U
#define VHDX_JOB_EXCEPTION	10U

/* RequestedState of its RequestStateChange. */
#define VHDX_JOB_TERMINATE	4U
#define VHDX_JOB_KILL		5U

/**
 * struct vhdx_job_options - bounds of a job
 * @size:	sizeof(struct vhdx_job_options)
 * @timeout_ms:	it ends with VHDX_CODE_TIMEOUT when it has not ended after so long; 0: none
 * @max_ranges:	it ends with VHDX_CODE_OUT_OF_MEMORY when there are more, since an answer is
 *		never cut; 0: 16777216
 */
struct vhdx_job_options {
	size_t size;
	unsigned int timeout_ms;
	size_t max_ranges;
};

#define VHDX_JOB_OPTIONS_SIZE_VER0 \
	(offsetof(struct vhdx_job_options, max_ranges) + sizeof(size_t))

#define VHDX_JOB_TEXT	1024

/**
 * struct vhdx_job_info - how a job stands
 * @size:	sizeof(struct vhdx_job_info)
 * @state:	VHDX_JOB_*: JobState
 * @percent:	PercentComplete: 100 only when it is completed
 * @code:	ErrorCode: VHDX_CODE_*; VHDX_CODE_JOB_STARTED until it has ended
 * @reason:	VHDX_REASON_*, once it has failed
 * @completion_status: JobCompletionStatusCode: vhdx_hresult(); 0 until it has failed
 * @cancellable: it has not ended: that does not promise that it can still be terminated
 * @start_time_ns: when it was started, nanoseconds since 1970 UTC
 * @elapsed_ns:	how long it takes, or took
 * @description: ErrorDescription: one line for a person; empty until it has failed
 * @child:	Child: where a layer of a chain failed, which one, or whose parent
 * @parent:	Parent: likewise: what was to be the parent of @child; or both are empty
 */
struct vhdx_job_info {
	size_t size;
	unsigned int state;
	unsigned int percent;
	unsigned int code;
	unsigned int reason;
	uint32_t completion_status;
	bool cancellable;
	uint64_t start_time_ns;
	uint64_t elapsed_ns;
	char description[VHDX_JOB_TEXT];
	char child[VHDX_PATH_TEXT];
	char parent[VHDX_PATH_TEXT];
};

#define VHDX_JOB_INFO_SIZE_VER0 \
	(offsetof(struct vhdx_job_info, parent) + VHDX_PATH_TEXT)

/**
 * vhdx_job_start() - begin to ask what changed between any two points
 * @path:	as in vhdx_get_virtual_disk_changes()
 * @question:	as in vhdx_changes_begin(); @range_size is that of what is lent in the end. With
 *		VHDX_CHANGES_COUNT no ranges are lent, and the answer has the sum
 * @options:	or NULL for the defaults
 * @job:	out: to be given to vhdx_job_free(); NULL where none was started
 *
 * Arguments, path, type of the file and range are judged before it starts; but what depends on
 * the history, points and a granularity below the unit, ends the job. The thread blocks all
 * signals, and has the disk open until the job has ended.
 *
 * Return: VHDX_CODE_JOB_STARTED, or why not.
 */
VHDX_API unsigned int vhdx_job_start(const char *path, const struct vhdx_changes *question,
				     const struct vhdx_job_options *options,
				     struct vhdx_job **job);

/**
 * vhdx_job_get_info() - how does it stand?
 * @job:	the job
 * @info:	its size is set by the caller, the rest is filled in
 *
 * Return: 0, or -EINVAL for a size that is too small.
 */
VHDX_API int vhdx_job_get_info(struct vhdx_job *job, struct vhdx_job_info *info);

/**
 * vhdx_job_fd() - something for poll(2)
 * @job:	the job
 *
 * Return: a descriptor that is readable once the job has ended. It is the job's own: not to be
 * read or closed.
 */
VHDX_API int vhdx_job_fd(const struct vhdx_job *job);

/**
 * vhdx_job_wait() - wait until the job has ended
 * @job:	the job
 * @timeout_ms:	at most so long; -1: as long as it takes
 *
 * Return: 0 ended; -ETIMEDOUT not yet.
 */
VHDX_API int vhdx_job_wait(struct vhdx_job *job, int timeout_ms);

/**
 * vhdx_job_request_state_change() - end it before it is done
 * @job:	the job
 * @requested:	VHDX_JOB_TERMINATE: it is VHDX_JOB_SHUTTING_DOWN until the thread has seen that,
 *		which takes about a tenth of a second, or as long as a device does not answer;
 *		then VHDX_JOB_TERMINATED. VHDX_JOB_KILL: it is VHDX_JOB_KILLED at once, and its
 *		thread cleans up when the driver lets go of it
 *
 * Its result is VHDX_CODE_UNKNOWN then.
 *
 * Return: VHDX_CODE_OK; VHDX_CODE_INVALID_STATE if it has ended already; or
 * VHDX_CODE_INVALID_PARAMETER.
 */
VHDX_API unsigned int vhdx_job_request_state_change(struct vhdx_job *job, unsigned int requested);

/**
 * vhdx_job_get_result() - what came of it; never waits
 * @job:	the job
 * @answer:	its size is set by the caller; out: the question, and what is known of the answer;
 *		may be NULL
 * @ranges:	out: lent until vhdx_job_free(), elements of the question's @range_size; may be
 *		NULL
 * @range_count: out: how many; may be NULL
 *
 * It can be asked for again.
 *
 * Return: VHDX_CODE_OK; VHDX_CODE_JOB_STARTED: it has not ended yet; VHDX_CODE_UNKNOWN if it was
 * terminated or killed, or its disk was detached; or why it failed.
 */
VHDX_API unsigned int vhdx_job_get_result(struct vhdx_job *job, struct vhdx_changes *answer,
					  const struct vhdx_range **ranges, size_t *range_count);

/**
 * vhdx_job_free() - kill it if need be, and let go of it; never waits
 * @job:	may be NULL
 */
VHDX_API void vhdx_job_free(struct vhdx_job *job);

/**
 * vhdx_hresult() - the HRESULT of Windows for a failure
 * @error:	an errno, negative or positive; 0 is success
 * @reason:	VHDX_REASON_*
 *
 * Return: 0xC03A0030 for an id that is not known and for every gap, 0xC03A002A where tracking is
 * disabled, 0xC03A0029 for an id that is none; else 0x8007xxxx of the nearest error of Win32.
 */
VHDX_API uint32_t vhdx_hresult(int error, unsigned int reason);

#ifdef __cplusplus
}
#endif

#endif /* LIBVHDX_H */
