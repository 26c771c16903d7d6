package members

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxPath is how long the path of a socket may be on Linux.
const maxPath = 107

// socketPlace is a path by which this process listens on a socket in a
// directory and connects to it, however long the directory's own path is.
type socketPlace struct {
	// path has at most maxPath bytes, and none that an URL would escape.
	path string
	dir  *os.File // nil where path is the socket's own
}

// placeSocket returns the place of a socket in a directory. Where the path is
// too long, it goes through a descriptor of the directory: who is not this
// process then reaches the socket by its name, from within the directory.
func placeSocket(dir, name string) (*socketPlace, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if len(path) <= maxPath && strings.IndexFunc(path, unusual) < 0 {
		return &socketPlace{path: path}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return &socketPlace{path: filepath.Join("/proc/self/fd", fmt.Sprint(f.Fd()), name), dir: f}, nil
}

func unusual(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("/._-", r)
}

func (p *socketPlace) close() {
	if p.dir != nil {
		_ = p.dir.Close()
	}
}
