# SPDX-License-Identifier: GPL-2.0-only
# vhdx: VHDX disks with Resilient Change Tracking
#
#	make			the module and user space
#	make modules KDIR=DIR	the module for the kernel whose build tree is DIR
#	make userspace		libvhdx and vhdxctl
#	make install		all of it (DESTDIR=, prefix=)
#	make demo		the main job, shown in a virtual machine
#	make fuzz T=60		each fuzzer of kmod/core for 60 seconds
#	make check		the tests, before every commit
#	make check-full		these and all other gates, within an hour
#	make check-long		the same without taking samples, before a release
#	make coverage		which lines of the module the tests do not reach
#	make bench		what reads and writes cost; AGAINST=COMMIT: what they cost there
#	make clean
#
# Everything that is built lies below build/; one directory for each kernel.

prefix	?= /usr
DESTDIR	?=
KDIR	?= /lib/modules/$(shell uname -r)/build
B	:= $(CURDIR)/build

have-kdir := $(wildcard $(KDIR)/include/config/kernel.release)

.PHONY: all modules userspace install install-api modules_install install-userspace demo fuzz check check-full check-long coverage bench clean

ifneq ($(have-kdir),)
all: modules userspace
else
all: userspace
	@echo "The module was not built: $(KDIR) is no kernel build tree."
	@echo "Install linux-headers-$(shell uname -r), or say: make modules KDIR=DIR"
endif

# ---- the module -----------------------------------------------------------
# The sources are mirrored as symlinks, so that trees of several kernels stand
# side by side and the source tree stays clean.

ifneq ($(have-kdir),)
KREL	:= $(shell cat $(KDIR)/include/config/kernel.release)
KOUT	:= $(B)/$(KREL)$(if $(GCOV),-gcov)
KSRC	:= Kbuild $(shell find kmod uapi -name '*.[ch]' ! -name '*_user.[ch]' ! -path 'kmod/compat/*')

modules: $(KOUT)/kmod/generated/compat-config.h
	@for f in $(KSRC); do \
		mkdir -p $(KOUT)/$$(dirname $$f); \
		[ $(KOUT)/$$f -ef $$f ] || ln -sf $(CURDIR)/$$f $(KOUT)/$$f; \
	done
	@find $(KOUT) -xtype l -delete
	$(MAKE) -C $(KDIR) M=$(KOUT) modules

$(KOUT)/kmod/generated/compat-config.h: kmod/compat/probe $(wildcard kmod/compat/*.c) $(KDIR)/include/config/kernel.release
	@mkdir -p $(@D)
	kmod/compat/probe $(KDIR) $(KOUT)/probe > $@.new
	@mv $@.new $@

# What a build of another module needs: see Documentation/kernel-api.rst.
SRCDIR	:= $(DESTDIR)$(prefix)/src/vhdx

install-api:
	install -D -m 644 kmod/include/linux/vhdx_api.h $(SRCDIR)/include/linux/vhdx_api.h
	install -D -m 644 uapi/linux/vhdx.h $(SRCDIR)/include/uapi/linux/vhdx.h
	install -D -m 644 Documentation/kernel-api.rst $(SRCDIR)/kernel-api.rst
	install -D -m 644 $(KOUT)/Module.symvers $(SRCDIR)/$(KREL)/Module.symvers

modules_install: install-api
	install -D -m 644 $(KOUT)/vhdx.ko $(DESTDIR)/lib/modules/$(KREL)/updates/vhdx.ko
	[ -n "$(DESTDIR)" ] || depmod $(KREL)
else
modules modules_install:
	@echo "$(KDIR) is no kernel build tree." >&2
	@echo "Install linux-headers-$(shell uname -r), or say: make $@ KDIR=DIR" >&2
	@false
endif

# ---- user space -----------------------------------------------------------

userspace:
	$(MAKE) -C userspace O=$(B)/userspace all

install-userspace:
	$(MAKE) -C userspace O=$(B)/userspace install DESTDIR=$(DESTDIR) prefix=$(prefix)
	install -D -m 644 uapi/linux/vhdx.h $(DESTDIR)$(prefix)/include/linux/vhdx.h

install: install-userspace $(if $(have-kdir),modules_install)

# ---- showing and testing ----------------------------------------------------

demo:
	selftests/demo/run

# T: seconds for each of them
fuzz:
	selftests/vm/host-packages full
	@$(MAKE) -s -C selftests/fuzz fuzz $(if $(T),T=$(T))

check check-full check-long:
	$(MAKE) -C selftests $@

coverage:
	selftests/coverage/run

bench:
	selftests/bench/fast $(if $(AGAINST),--against $(AGAINST))

clean:
	rm -rf $(B)
