package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// position is where an export stopped: kept in a file of its own.
type position struct {
	// To is what it is of: a file by its path, a syslog by its address.
	To string `json:"to"`
	// Segment is the last one that was exported.
	Segment int64 `json:"segment"`
	// SHA256 is its hash; empty: not known.
	SHA256 string `json:"sha256,omitempty"`
	// Size is how long the file was then.
	Size int64 `json:"size,omitempty"`
}

// readPosition reads a position; one of something else counts as none.
func readPosition(path, to string) (position, error) {
	none := position{To: to}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("where the export stopped: %w", err)
	}
	var p position
	if err := json.Unmarshal(text, &p); err != nil || p.To != to {
		return none, nil // a damaged one is found anew
	}
	return p, nil
}

// write puts the position in place of the former one, whole.
func (p position) write(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("where the export stopped: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("where the export stopped: %w", err)
	}
	_, err = next.Write(append(text, '\n'))
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("where the export stopped: %w", err)
	}
	return nil
}
