package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Kill ends all processes in the group and below it, also those that are being
// started at this moment.
func Kill(dir string) error { return write(dir, "cgroup.kill", "1") }

// Populated reports whether there are processes in the group or below it. A
// group that is gone has none.
func Populated(dir string) bool {
	return field(filepath.Join(dir, "cgroup.events"), "populated") == "1"
}

// Pids returns the processes in the group and below it.
func Pids(dir string) []int {
	var out []int
	for _, w := range words(filepath.Join(dir, "cgroup.procs")) {
		if pid, err := strconv.Atoi(w); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return out
	}
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, Pids(filepath.Join(dir, e.Name()))...)
		}
	}
	return out
}

// OOMKilled reports whether the kernel has ended processes of the group because
// they needed more memory than it may have.
func OOMKilled(dir string) bool {
	n := field(filepath.Join(dir, "memory.events"), "oom_kill")
	return n != "" && n != "0"
}

// Remove removes a group without processes, and the groups that the command
// has made in it. One that is not there is no error.
func Remove(dir string) error {
	err := os.Remove(dir) // the kernel takes the files of a group away with it
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, rerr := os.ReadDir(dir)
	if rerr != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = Remove(filepath.Join(dir, e.Name()))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write writes a file of the kernel's in one call. It makes none.
func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if err != nil {
		err = fmt.Errorf("write %q: %w", value, err)
	}
	return errors.Join(err, f.Close())
}

// words returns the words of a file, none if it cannot be read.
func words(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// field returns the value behind a name in a file of names and values.
func field(path, name string) string {
	w := words(path)
	for i := 0; i+1 < len(w); i += 2 {
		if w[i] == name {
			return w[i+1]
		}
	}
	return ""
}
