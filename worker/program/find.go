package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Find returns the path of a program: as it is when it has a slash, from dir on
// where it is relative, else from the search path.
func Find(name, search, dir string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, executable(path)
	}
	var denied error
	for _, d := range filepath.SplitList(search) {
		path := filepath.Join(d, name)
		if !filepath.IsAbs(path) {
			continue
		}
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if _, serr := os.Stat(path); serr == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("program %q is not in the search path %s on this host", name, search)
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("program %s does not exist on this host", path)
	case err != nil:
		return fmt.Errorf("program: %w", err)
	case st.IsDir():
		return fmt.Errorf("program %s is a directory", path)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("program %s is not executable", path)
	}
	return nil
}
