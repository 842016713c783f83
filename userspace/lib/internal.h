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
 * Of a chain it is this layer that failed, or what should be the parent of this one. That may come
 * to be the answer to a question only later, when all else is known; so it outlasts the error.
 */
void note_layers(const char *child, const char *parent);
void forget_layers(void);
/* Is what is noted now about the layers that were? */
bool last_error_is_of(const char **child, const char **parent);
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
/* The directory below /sys/block/vhdxN of one of its files, 0: the leaf. */
#define SYSFS_LAYER	20
void sysfs_layer(unsigned int position, char directory[SYSFS_LAYER]);
/* An attribute there. 0 or -errno, as sysfs_read(). */
int sysfs_read_layer(int index, unsigned int position, const char *attribute, char *text,
		     size_t size);
/* What it is called, or was, if it was @deleted. -errno: there is none. */
int sysfs_container(int index, unsigned int position, char path[VHDX_PATH_TEXT], bool *deleted);
/* Whether it has no name left; if nobody tells, it is supposed to have none. */
bool sysfs_container_unlinked(int index, unsigned int position);
/* Numbers of all attached disks, ascending; free() them. 0 or -errno. */
int sysfs_indices(int **indices, size_t *count);

/* ---- resolve.c ---- */

/* N of "N", "vhdxN" and "/dev/vhdxN"; -1 for any other text. */
int index_from_name(const char *name);
/* Is the file or device @st the container of disk @index? */
bool is_container(int index, const struct stat *st);
/* Is it the parent at this position, 0: the container itself? */
bool is_layer(int index, unsigned int position, const struct stat *st);
/* The first disk that the file or device @st is a parent of; -ENODEV: none. */
int find_by_parent(const struct stat *st, int *index);
/* The first disk whose container is the file or device @st; -ENODEV: none. */
int find_by_container(const struct stat *st, int *index);
/* A disk whose use of the sidecar @st rules out ours, for writing or for reading; -ENODEV: none. */
int find_by_sidecar(const struct stat *st, bool write, int *index);
/*
 * -EINVAL, noted, for a partition or the other device of a disk: these are no disks. -EMEDIUMTYPE
 * for what can't be attached either. Else 0.
 */
int explain_no_disk(const char *name);
/* -EINVAL, noted, where a caller has no name for a disk or a file (NULL); else 0. */
int check_name(const char *name);
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
/*
 * For reading, whatever is in it: a device exclusively, since what is mounted, or part of something
 * else, changes while it is read.
 */
int open_raw(struct container *container, const char *path);
/* For reading: what an O_PATH descriptor leads to. A descriptor or -errno, not noted. */
int reopen(int found);
/* Likewise, as a container; @path is for messages. */
int open_found(struct container *container, int found, const char *path, bool write);
/* Where the kernel says that an open file lies: links are followed, no race. free() it. */
char *realpath_of(int fd);
/* Before it is opened: -EMEDIUMTYPE, noted, unless it is a regular file or a block device. */
int check_kind(const char *path, const struct stat *st);
/* Is it a symbolic link to what is not there? */
bool leads_nowhere(const char *path, char target[VHDX_PATH_TEXT]);
/* stat() of it failed with @err: note that, and return it. */
int explain_missing(int err, const char *path);
/* Is it the file or device @st? */
bool is_same_file(const struct container *container, const struct stat *st);
void close_container(struct container *container);
/* Path and owner of a disk's container, attached or not, without opening it. */
int locate_container(struct container *container, const char *name);

static inline bool is_block(const struct container *container)
{
	return S_ISBLK(container->st.st_mode);
}

/* ---- shell_word.c ---- */

/* @text as one word of a command, quoted where that is needed; free() it. NULL: no memory. */
char *shell_word(const char *text);

/* ---- windows_path.c ---- */

/* Does it begin where the file that names it lies? No drive, no server, no root. */
bool is_relative_path(const char *path);
/*
 * What is behind @from in @path, without a separator in front; NULL: it doesn't begin so. A "./" in
 * front of either says nothing; a lone separator is what every path begins with that names no
 * drive and no server.
 */
const char *path_behind(const char *path, const char *from);
/* @directory and @path behind it, backslashes turned; to be freed. NULL: out of memory. */
char *path_beneath(const char *directory, const char *path);

/* ---- origin.c ---- */

/**
 * struct origin - where a container lies, for the paths that it names its parent by
 * @root:	an O_PATH directory that none of these paths leaves; -1: there is none, as
 *		beside a block device
 * @directory:	the container's, from there
 */
struct origin {
	int root;
	char *directory;
};

#define ORIGIN_NONE	{ .root = -1 }

/* Of a container that somebody named: its own directory. */
int origin_of(struct origin *origin, const struct container *container);
/* Of what was found by @path from @root, whose ownership passes on, also on failure. */
int origin_beneath(struct origin *origin, int root, const char *path);
void release_origin(struct origin *origin);
/*
 * A regular file below @root: through no symbolic link, and never out of it. An O_PATH
 * descriptor or -errno, not noted: -EXDEV out of it; -ELOOP a link; -EISDIR, or -EMEDIUMTYPE
 * for a device and the like, which is not opened.
 */
int find_beneath(int root, const char *path);
/* The sidecar beside a container, likewise: for reading. A descriptor or -errno, not noted. */
int open_sidecar_beside(const struct origin *origin, const struct container *container);

/* ---- find_parent.c ---- */

/**
 * struct found_parent - what a differencing disk says is its parent; or what somebody does
 * @fd:		an O_PATH descriptor
 * @path:	for messages
 * @root:	where @beneath begins; -1: it was named as it is
 * @beneath:	its path from there
 */
struct found_parent {
	int fd;
	char *path;
	int root;
	char *beneath;
};

#define FOUND_PARENT_NONE	{ .fd = -1, .root = -1 }

struct image_file;

/*
 * By the first path of @child's locator that leads to a file. -ENOENT and others, noted: @named is
 * what advice has to name before it, "" for a leaf's own parent.
 */
int find_parent(struct found_parent *found, const struct container *child,
		struct image_file *image, const struct origin *origin,
		const struct vhdx_chain_options *options, const char *named);
/* Of a question to files: nobody can say where parents lie, and advice does not ask for it. */
extern const struct vhdx_chain_options below_the_child;
int find_named_parent(struct found_parent *found, const char *path);
void release_found(struct found_parent *found);

/* ---- vhd_set.c ---- */

/**
 * struct active_file - what a VHD Set says that its disk is in
 * @fd:		an O_PATH descriptor
 * @path:	for messages
 */
struct active_file {
	int fd;
	char *path;
};

#define ACTIVE_NONE	{ .fd = -1 }

/* 1: @path is a set, and this is its file; 0: it is none, or can't be read; -errno, noted. */
int find_active(struct active_file *active, const char *path);
void release_active(struct active_file *active);
bool is_vhd_set(const char *path);
/* The disk whose container is the active file of the set @path; -ENODEV: none. */
int find_by_set(const char *path, int *index);
/* open_container(); of a set, its active file, and then it returns 1. */
int open_disk_file(struct container *container, const char *path, bool write);

/* ---- parents.c ---- */

/**
 * struct parents - the open layers below a leaf
 * @sidecars:	of each, if they were asked for, a descriptor of the sidecar beside it; -ENOENT:
 *		there is none; or why it can't be opened
 */
struct parents {
	struct container *layers;
	int *sidecars;
	size_t count;
};

/* Told of each layer, leaf first, when it fits its child. Other than 0 ends it. */
typedef int (*layer_fn)(void *context, const struct container *container,
			const struct image_file *image);

/*
 * Open all that the leaf @image is made of. release_parents() it whatever this returns.
 * @fn may be NULL.
 */
int open_parents(struct parents *parents, const struct container *leaf,
		 struct image_file *image, const struct vhdx_chain_options *options,
		 layer_fn fn, void *context);
/* The same with their sidecars, to read what they tell of the history. */
int open_parents_with_sidecars(struct parents *parents, const struct container *leaf,
			       struct image_file *image,
			       const struct vhdx_chain_options *options, layer_fn fn,
			       void *context);
void release_parents(struct parents *parents);

/* ---- chain.c: telling of layers, one by one ---- */

/**
 * struct chain_telling - of layers to a caller
 * @shown:	a layer of the caller's size
 */
struct chain_telling {
	vhdx_chain_fn fn;
	void *context;
	struct vhdx_chain_layer *shown;
};

/* @name: for messages. 0 or -errno, noted; then there is nothing to end. */
int chain_telling_begin(struct chain_telling *telling, const char *name, size_t layer_size,
			vhdx_chain_fn fn, void *context);
int chain_tell(const struct chain_telling *telling, const struct vhdx_chain_layer *layer);
void chain_telling_end(struct chain_telling *telling);

/* ---- children.c ---- */

/* -EBUSY, noted, where a file beside the container was made of it as it is. Else 0. */
int refuse_with_children(const struct container *container, const struct image_file *image);
/* The same, -EUCLEAN, of what a VHD Set says that its disk is in: it was left behind. */
int refuse_left_behind(const struct container *container, const struct image_file *image);

/* ---- foreign_image.c ---- */

/* Is it a disk image of another format? Then -EMEDIUMTYPE, noted; else 0. */
int explain_foreign_image(const struct container *container);

/* ---- sidecar_file.c ---- */

/* @given, or FILE.lrct; free() it. -ENOENT for a block device: nothing lies beside a node. */
int sidecar_path(const struct container *container, const char *given, char **path);
/*
 * A descriptor, or -errno (-ENOENT: none there; -ENAMETOOLONG: none can be). A FILE.lrct that
 * nobody named (@given NULL) is not looked for behind a symbolic link.
 */
int open_sidecar(const char *path, bool given, bool write);
/*
 * Whose trouble the driver's @message tells of: that of a sidecar which somebody named is its
 * own, for it may lie anywhere; of all else @otherwise has it. @given, @message may be NULL.
 */
const char *subject_of(const char *message, const char *given, const char *otherwise);
/*
 * The driver's @message, in @text with the path of the file that it tells of, where that is the
 * sidecar or the container of an attached disk, and nobody named it.
 */
#define NAMED_SIZE	(MESSAGE_SIZE + VHDX_PATH_TEXT)
const char *name_file(const struct vhdx_disk *disk, const char *message, char text[NAMED_SIZE]);
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
/*
 * -EEXIST, noted, for what is no sidecar, for another disk's if somebody named it, and for that of
 * a parent of @disk, which is attached, and whose @info that is. Else 0.
 */
int refuse_to_overwrite(int fd, const char *path, bool given, struct vhdx_disk *disk,
			const struct vhdx_info *info);

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

struct image_file;

/**
 * struct disk_ops - who answers: the driver, or the file itself
 * @call:	an ioctl of /dev/vhdxcN, as request()
 * @sidecar:	its path, to be freed; NULL: none. 0 or -errno, noted
 * @read:	content of the disk. 0 or -errno, noted
 * @image:	the container that is read, and as what; NULL: the driver has it
 * @close:	let go of it
 */
struct disk_ops {
	int (*call)(struct vhdx_disk *disk, unsigned long command, void *argument);
	int (*sidecar)(struct vhdx_disk *disk, char **path);
	int (*read)(struct vhdx_disk *disk, uint64_t offset, void *buf, size_t length);
	struct image_file *(*image)(struct vhdx_disk *disk, const struct container **container);
	void (*close)(struct vhdx_disk *disk);
};

/* What is wrong with a chain of files has paths in it, which the driver's messages have not. */
#define DISK_MESSAGE_SIZE	(MESSAGE_SIZE + VHDX_PATH_TEXT + 1024)

/**
 * struct vhdx_disk - what the two kinds of disk have in common
 * @data_fd:	of an attached disk: the block device, once it was read; else -1
 * @name:	for messages
 * @sidecar:	the one that the caller named, for messages about it; NULL: none was
 * @message:	what went wrong in @call, where more is known than a reason
 * @subject:	whose trouble that is, where it is not that of @name or @sidecar; or NULL
 * @unreadable:	what is wrong with its sidecar, a line that names it, where all questions about
 *		changes fail with that; or NULL
 */
struct vhdx_disk {
	const struct disk_ops *ops;
	int index;
	int fd;
	int data_fd;
	char *name;
	const char *sidecar;
	char message[DISK_MESSAGE_SIZE];
	const char *subject;
	char *unreadable;
};

int disk_init(struct vhdx_disk *disk, const struct disk_ops *ops, const char *name);
/* What was to be read goes beyond the end. Returns -EINVAL, noted. */
int beyond_disk(const struct vhdx_disk *disk, uint64_t offset, size_t length, uint64_t size);
/* Call and, on failure, note the error. The argument's size is at least the first one. */
int disk_call(struct vhdx_disk *disk, unsigned long command, void *argument);

/* ---- new_vhdx.c ---- */

/* Never drawn before. */
void random_guid(vhdx_guid *guid);

/* ---- detach.c ---- */

/* vhdx_detach() of the disk whose index and disk_seq are given. */
int detach_attachment(struct vhdx_detach *detach, unsigned int timeout_ms);

/* ---- iterator.c ---- */

/* A range of the first header of this library: for a caller who says nothing. */
#define RANGE_SIZE_DEFAULT	24U

/*
 * What a call is given as its time_limit_ms, so that whoever waits is told, and asked, in between;
 * 0: nobody is. The driver comes back after this long, whatever the disk; unless a device does not
 * answer.
 */
#define SLICE_MS	100U
static inline unsigned int slice_of(vhdx_progress_fn progress)
{
	return progress ? SLICE_MS : 0;
}

/* VHDX_TO_END becomes what that is from @offset on. */
int resolve_length(struct vhdx_disk *disk, uint64_t offset, uint64_t *length);

/* The question in its present size; sums alone may be wanted. Ended by free_changes(). */
int begin_changes(struct vhdx_disk *disk, const struct vhdx_changes *question,
		  struct vhdx_changes_iter **iter);

/* Can it be answered range by range? 0 or -EINVAL, noted; @name is for messages. */
int check_changes(const char *name, const struct vhdx_changes *question);

/* Each call comes back after so long, at the latest; unless a device does not answer. */
void limit_calls(struct vhdx_changes_iter *iter, uint32_t time_limit_ms);

/* The next call. All ranges so far were taken. */
int ask_once(struct vhdx_changes_iter *iter);

/* 1: a range; 0: there is none before the next call, which there is one of unless all is asked. */
int next_range(struct vhdx_changes_iter *iter, struct vhdx_range *range);
bool is_all_asked(const struct vhdx_changes_iter *iter);
uint64_t bytes_asked(const struct vhdx_changes_iter *iter);

void free_changes(struct vhdx_changes_iter *iter, struct vhdx_changes *answer);

/* ---- device.c, offline.c ---- */

/* @disk_seq: the attachment that is meant; 0: whichever has the index. -ENODEV: gone. */
int open_device(int index, uint64_t disk_seq, bool write, struct vhdx_disk **disk);
int open_offline(const char *path, const char *sidecar, struct vhdx_disk **disk);
/* Of a clock that nobody sets: for time limits of questions to files. */
uint64_t now_ms(void);

#endif
