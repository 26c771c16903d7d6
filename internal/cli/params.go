package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

// paramFlags are how the parameters of a run are given.
type paramFlags struct{ pairs, files []string }

func (f *paramFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.pairs, "param", nil, "`NAME=VALUE` that reaches the command as CARILLON_PARAM_NAME (may be given several times)")
	cmd.Flags().StringArrayVar(&f.files, "param-file", nil, "`NAME=FILE` with a parameter's value, which is in no list of processes then; - is standard input")
}

// check tells what is wrong with the flags, and reads no file.
func (f *paramFlags) check() error {
	pairs, err := parsePairs("--param", "VALUE", f.pairs)
	if err != nil {
		return err
	}
	files, err := parsePairs("--param-file", "FILE", f.files)
	if err != nil {
		return err
	}
	standard := 0
	for name, file := range files {
		if _, twice := pairs[name]; twice {
			return usagef("parameter %s is given by --param and by --param-file", name)
		}
		if file == "-" {
			standard++
		}
	}
	if standard > 1 {
		return usagef("--param-file: standard input is the value of one parameter only")
	}
	return nil
}

// read returns the parameters. One line end behind a file's value is no part of it.
func (f *paramFlags) read(in io.Reader) (map[string]string, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	out, err := parsePairs("--param", "VALUE", f.pairs)
	if err != nil {
		return nil, err
	}
	files, err := parsePairs("--param-file", "FILE", f.files)
	if err != nil {
		return nil, err
	}
	for name, file := range files {
		value, err := readValue(file, in, job.MaxParamBytes)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// readValue reads a value from a file, or from in where it is -. One line end behind it
// is no part of it.
func readValue(file string, in io.Reader, most int) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, int64(most)+3))
	if err != nil {
		return "", err
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if len(value) > most {
		return "", usagef("%s has more than %d bytes, which is the most", file, most)
	}
	return value, nil
}

// parsePairs reads the NAME=VALUE pairs of a flag; what says what stands for a value. It
// repeats no value.
func parsePairs(flag, what string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || !job.IsParamName(k) {
			return nil, usagef("%s %q: want NAME=%s; a name has letters, digits and '_'", flag, p, what)
		}
		if _, twice := out[k]; twice {
			return nil, usagef("%s %s is given twice", flag, k)
		}
		out[k] = v
	}
	return out, nil
}
