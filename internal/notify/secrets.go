package notify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// secrets are the files of the node that receivers' secrets are in.
type secrets struct{ dir string }

const maxSecret = 8 << 10

// of returns a secret of a namespace. The error names the file, never what is in it.
func (s secrets) of(namespace, name string) (string, error) {
	if s.dir == "" {
		return "", errors.New("the node has no directory for secrets of notifiers; its setting notify.secretsDir names one")
	}
	if job.CheckName(namespace) != nil || job.CheckName(name) != nil {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	// A root keeps links from leading out of the namespace's folder.
	root, err := os.OpenRoot(filepath.Join(s.dir, namespace))
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("secret %s: every account of the node may use its file (mode %04o); make it 0600", name, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" || len(text) > maxSecret {
		return "", fmt.Errorf("secret %s: its file is empty, or has more than %d bytes", name, maxSecret)
	}
	return value, nil
}

func withoutPath(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
