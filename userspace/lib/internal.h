/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the library share. Nothing here is exported.
 */
#ifndef LIBVHDX_INTERNAL_H
#define LIBVHDX_INTERNAL_H

#include <limits.h>
#include <sys/stat.h>
#include <core/guid.h>
#include <libvhdx.h>

#define CONTROL_DEVICE	"/dev/vhdx-control"
#define SIDECAR_SUFFIX	".lrct"

/* ---- error.c: each of these notes the failure and returns @err ---- */

void clear_error(void);
int fail(int err, unsigned int reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with ": " and the text of @err. */
int fail_errno(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/*
 * An ioctl failed. @message is the kernel's own text, or NULL; then the text follows
 * from the reason.
 */
int fail_kernel(int err, unsigned int reason, const char *subject, const char *message);
/* The same, for a seal or a query: if the history is lost, that is for the next backup to know. */
int fail_history(int err, unsigned int reason, const char *subject, const char *message);
unsigned int reason_from_name(const char *name);
/*
 * What a function of the caller's returned. A negative one may be any errno, and would be
 * taken for the library's own: it becomes -ECANCELED.
 */
int result_of_caller(int result);

/* ---- sized.c: structures of callers that were compiled with another header ---- */

/*
 * Take over a caller's question. @ours, of @size bytes, becomes what @theirs has and zero
 * behind it. -EINVAL, -E2BIG; @name is for the message.
 */
int take_sized(void *ours, size_t size, const void *theirs, size_t first_size,
	       const char *name);
/* Is the size in a caller's structure one that we may write to? 0 or -EINVAL. */
int check_sized(const void *theirs, size_t first_size, const char *name);
/* The answer: as much as both know, zero behind it; the caller's size stays. */
void give_sized(void *theirs, const void *ours, size_t size);
/* The same for an element of an array, which has no size of its own. */
void give_element(void *theirs, size_t their_size, const void *ours, size_t size);

/* ---- request.c ---- */

/*
 * An ioctl, with a line of output for LIBVHDX_DEBUG. @message, of MESSAGE_SIZE bytes, gets
 * the driver's message unless the caller's argument asks for it. 0 or -errno; does not note
 * an error.
 */
#define MESSAGE_SIZE	256
int request(int fd, const char *subject, unsigned long command, void *argument, char *message);
/* Say what was asked and what came of it, if anybody wants to know. */
void tell_request(const char *subject, unsigned long command, void *argument, int err,
		  const char *message);

/* ---- sysfs.c ---- */

#define SYS_BLOCK	"/sys/block"

/* What an attribute says, without its newline. 0 or -errno; then @text is empty. */
int sysfs_read_path(const char *path, char *text, size_t size);
/* The same of /sys/block/vhdxN/@attribute. */
int sysfs_read(int index, const char *attribute, char *text, size_t size);
bool sysfs_exists(int index);
/* Of which attachment the disk's number is now; 0: nobody knows. */
uint64_t sysfs_disk_seq(int index);
/* Numbers of all attached disks, ascending; free() them. 0 or -errno. */
int sysfs_indices(int **indices, size_t *count);

/* ---- resolve.c ---- */

/* N of "N", "vhdxN" and "/dev/vhdxN"; -1 for any other text. */
int index_from_name(const char *name);
/* Is the file or device @st the container of disk @index? */
bool is_container(int index, const struct stat *st);
/* The disk whose container is the file or device @st; -ENODEV: none. */
int find_by_container(const struct stat *st, int *index);
/* A disk whose use of the sidecar @st rules out ours, for writing or for reading; -ENODEV: none. */
int find_by_sidecar(const struct stat *st, bool write, int *index);
/* -EINVAL, noted, for a partition or the other device of a disk: these are no disks. Else 0. */
int explain_node(const char *name);
/* As vhdx_find(), and tells a file that is not attached: 1. */
int find_disk(const char *name, int *index);

/* ---- lock.c ---- */

/* Lock as QEMU does for a writer or a reader. -EBUSY with a message. */
int lock_container(int fd, bool write, const char *path);

/* ---- container.c ---- */

/**
 * struct container - an open and locked container
 * @path:	what the kernel calls the file; symbolic links are followed
 * @write:	open for writing
 */
struct container {
	int fd;
	bool write;
	struct stat st;
	char *path;
};

#define CONTAINER_NONE	{ .fd = -1 }

/* A descriptor with @flags, or -errno, not noted: -EROFS also for a read-only block device. */
int open_for(const char *path, bool write, int flags);
int open_container(struct container *container, const char *path, bool write);
void close_container(struct container *container);
/* Path and owner of a disk's container, attached or not, without opening it. */
int locate_container(struct container *container, const char *name);

static inline bool is_block(const struct container *container)
{
	return S_ISBLK(container->st.st_mode);
}

/* ---- foreign_image.c ---- */

/* Is it a disk image of another format? Then -EMEDIUMTYPE, noted; else 0. */
int explain_foreign_image(const struct container *container);

/* ---- sidecar_file.c ---- */

/* @given, or FILE.lrct; free() it. -ENOENT for a block device: nothing lies beside a node. */
int sidecar_path(const struct container *container, const char *given, char **path);
/*
 * A descriptor, or -errno (-ENOENT: none there). A FILE.lrct that
 * nobody named (@given NULL) is not looked for behind a symbolic link.
 */
int open_sidecar(const char *path, bool given, bool write);
/* Make an empty one with the container's owner and mode. A descriptor or -errno. */
int create_sidecar(const char *path, const struct stat *container);
/*
 * Remove it again after @err, which is noted, unless somebody else has it in use. If it stays
 * because nobody can know, that is added to what is noted. Returns @err.
 */
int remove_made_sidecar(int fd, const char *path, int err);

/* Make the directory entry of @path durable. */
int sync_directory(const char *path);

/* ---- sidecar_owner.c ---- */

enum ownership {
	OF_NOBODY,		/* no sidecar, or none that tells */
	OF_ANOTHER_DISK,
	OF_ANOTHER_STATE,	/* of a copy of the container, or of one that it was before */
	OF_THIS_STATE,		/* of the container as it is */
};

enum ownership sidecar_ownership(int fd, const struct vhdx_info *info);
/* Is there nothing in it that could be lost? A block device is never empty: it holds zeroes. */
bool is_blank_sidecar(int fd);
/* -EEXIST, noted, for what is no sidecar, and for another disk's if somebody named it. Else 0. */
int refuse_to_overwrite(int fd, const char *path, bool given, const struct vhdx_info *info);

/* ---- stray_sidecar.c ---- */

/*
 * The name of a sidecar beside a container file that is of its disk, and in use by none.
 * OF_THIS_STATE; OF_ANOTHER_STATE; OF_NOBODY: there is none.
 */
enum ownership find_stray_sidecar(const struct container *container,
				  const struct vhdx_info *info, char name[NAME_MAX + 1]);

/* ---- windows_rct.c ---- */

/**
 * struct windows_rct - Windows' own tracking files beside a container
 * @present:	FILE.rct, FILE.mrt
 * @retired:	renamed to *.stale by us
 */
struct windows_rct {
	bool present[2];
	bool retired[2];
};

void find_windows_rct(struct windows_rct *rct, const struct container *container);
int refuse_windows_rct(const struct windows_rct *rct, const struct container *container);
int retire_windows_rct(struct windows_rct *rct, const struct container *container);
void restore_windows_rct(struct windows_rct *rct, const struct container *container);

/* ---- node.c ---- */

/* Open /dev/vhdx-control; -ENODEV and what to do where the module is absent. */
int open_control(void);
/* Open /dev/vhdxN ("") or /dev/vhdxcN ("c"); waits for the node. -ENODEV: it is something else. */
int open_node(const char *kind, int index, int flags);
bool module_is_loaded(void);
/* The path of the block device of disk @index. */
void device_name(int index, char *text, size_t size);

/* ---- disk.c ---- */

/**
 * struct disk_ops - who answers: the driver, or the file itself
 * @call:	an ioctl of /dev/vhdxcN, as request()
 * @sidecar:	its path, to be freed; NULL: none. 0 or -errno, noted
 * @close:	let go of it
 */
struct disk_ops {
	int (*call)(struct vhdx_disk *disk, unsigned long command, void *argument);
	int (*sidecar)(struct vhdx_disk *disk, char **path);
	void (*close)(struct vhdx_disk *disk);
};

/**
 * struct vhdx_disk - what the two kinds of disk have in common
 * @name:	for messages
 * @message:	what went wrong in @call, where more is known than a reason
 */
struct vhdx_disk {
	const struct disk_ops *ops;
	int index;
	int fd;
	char *name;
	char message[MESSAGE_SIZE];
};

int disk_init(struct vhdx_disk *disk, const struct disk_ops *ops, const char *name);
/* Call and, on failure, note the error. The argument's size is at least the first one. */
int disk_call(struct vhdx_disk *disk, unsigned long command, void *argument);

/* ---- detach.c ---- */

/* vhdx_detach() of the disk whose index and disk_seq are given. */
int detach_attachment(struct vhdx_detach *detach, unsigned int timeout_ms);

/* ---- changes.c ---- */

/* vhdx_disk_get_changes() with a look at what is done so far after each call. */
int get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
		int (*between)(void *context), void *context);

/* ---- device.c, offline.c ---- */

/* @disk_seq: the attachment that is meant; 0: whichever has the index. -ENODEV: gone. */
int open_device(int index, uint64_t disk_seq, bool write, struct vhdx_disk **disk);
int open_offline(const char *path, const char *sidecar, struct vhdx_disk **disk);

#endif
