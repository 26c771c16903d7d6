package shim

import (
	"os"
	"strconv"
	"syscall"
)

// KeepDescriptors has every descriptor of this process but its input and output closed
// in the programs that it starts, also those that it was started with: whoever
// started it may have left files and connections open. A program does this at its
// start, before it opens anything for a child.
func KeepDescriptors() {
	const (
		first         = 3
		sysCloseRange = 436 // on all platforms
		closeOnExec   = 4
	)
	if _, _, errno := syscall.Syscall(sysCloseRange, first, uintptr(^uint32(0)), closeOnExec); errno == 0 {
		return
	}
	// An older kernel.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // there is no way to know them
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			syscall.CloseOnExec(fd)
		}
	}
}
