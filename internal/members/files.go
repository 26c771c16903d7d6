package members

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/carillon-cron/carillon/job"
)

const (
	// stateName is the file that says what this data directory is of, in directoryName,
	// beside the certificates.
	directoryName = "member"
	stateName     = "state.json"
	// etcdName is etcd's directory, asideName that of a member that was removed.
	etcdName  = "etcd"
	asideName = "etcd.removed"
)

// State is what a data directory knows of the cluster's own etcd. With it, a node finds
// back to the members without a token.
type State struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Cluster is the cluster's id, Etcd etcd's number of it; empty before it is known.
	Cluster string `json:"cluster"`
	Etcd    string `json:"etcd,omitempty"`
	// Founded: the node is the one that made the cluster.
	Founded bool `json:"founded,omitempty"`
	// Prefix is that of the cluster's keys.
	Prefix string `json:"prefix"`
	// Member is the number of the member that the data here is of, or is to be of;
	// empty: of none.
	Member string `json:"member,omitempty"`
	// Endpoints are where members were reached last.
	Endpoints []string `json:"endpoints"`
}

// ReadState reads the state of a node's data directory; nil: there is none.
func ReadState(dataDir string) (*State, error) {
	path := filepath.Join(dataDir, directoryName, stateName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state of the member: %w", err)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("state of the member: %s: %w", path, err)
	}
	return &s, nil
}

// write keeps the state, as a whole or not at all.
func (s *State) write(dataDir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("state of the member: %w", err)
	}
	return replace(filepath.Join(dataDir, directoryName, stateName), append(b, '\n'))
}

// Forget has a data directory know of no members, so that the first member of the
// cluster can be founded from its data again.
func Forget(dataDir string) error {
	if err := os.Remove(filepath.Join(dataDir, directoryName, stateName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state of the member: %w", err)
	}
	return nil
}

// Files are where a node of a data directory keeps its certificate, its key and the
// authority.
func Files(dataDir string) (cert, key, ca string) {
	at := func(name string) string { return filepath.Join(dataDir, directoryName, name) }
	return at("cert.pem"), at("key.pem"), at("ca.pem")
}

// replace writes a file of this account alone in place of one that there may be.
func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// setAside moves the data of a member that was removed out of the way, in place of
// that of an earlier one.
func setAside(dataDir string) error {
	from, to := filepath.Join(dataDir, etcdName), filepath.Join(dataDir, asideName)
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("data of an earlier member: %w", err)
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data of a removed member: %w", err)
	}
	return nil
}
