package datadir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Guarded returns an error for a file that another account than root and ours
// could change, as one that says what may run here must not be.
func Guarded(st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to the account %d, which could change it; make it root's", sys.Uid)
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("can be written by others than its owner (mode %v); take that away with chmod go-w", st.Mode().Perm())
	}
	return nil
}
