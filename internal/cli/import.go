package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/importer"
	"github.com/carillon-cron/carillon/internal/manifest"
)

// importVerbs are those that read what other schedulers run. They ask no server.
type importVerbs struct {
	*call

	opts importer.Options
	// dir is where files are written; empty: all goes to stdout.
	dir string
	// overwrite: files in dir are written though they have been changed since.
	overwrite bool
}

// importKind is what `carillon import` says of a format.
type importKind struct {
	format         importer.Format
	use, short     string
	long, examples string
	// takes reports whether a file of a directory, by its path below it, is read.
	takes func(path string) bool
}

func importKinds() []importKind {
	return []importKind{
		{
			format: importer.Crontab, use: "crontab FILE|DIR|-...", short: "Crontabs, of accounts or of the system",
			long: "Write jobs for the lines of crontabs. /etc/crontab and the files of cron.d have a column\n" +
				"with the account, as --system says of others; --user is the account of those without.\n" +
				"Variables hold for the lines below them. Comments above a line become its description.",
			examples: "  crontab -l | carillon import crontab --user \"$USER\" --tz Europe/Berlin --target \"$(hostname)\" -\n  carillon import crontab --tz Europe/Berlin --out jobs/ /etc/crontab /etc/cron.d",
			takes: func(path string) bool {
				return !strings.HasPrefix(filepath.Base(path), ".") && !strings.Contains(path, "/")
			},
		},
		{
			format: importer.Systemd, use: "systemd FILE|DIR|-...", short: "Timers of systemd, with their services",
			long: "Write jobs for timers and the services that they start, drop-ins (NAME.timer.d/*.conf)\n" +
				"included. From stdin it reads what `systemctl cat` prints.",
			examples: "  systemctl cat backup.timer backup.service | carillon import systemd --tz Europe/Berlin --target \"$(hostname)\" -\n  carillon import systemd --out jobs/ /etc/systemd/system",
			takes: func(path string) bool {
				ext := filepath.Ext(path)
				return ext == ".timer" || ext == ".service" || ext == ".conf" && strings.HasSuffix(filepath.Dir(path), ".d")
			},
		},
		{
			format: importer.Kubernetes, use: "k8s FILE|DIR|-...", short: "CronJobs of Kubernetes",
			long:     "Write jobs for CronJobs, from manifests or what kubectl prints. Commands run on minions as\nthey are: images are told of, and not taken along.",
			examples: "  kubectl get cronjobs -A -o yaml | carillon import k8s --out jobs/ -",
			takes:    withExt(".yaml", ".yml", ".json"),
		},
		{
			format: importer.Dkron, use: "dkron FILE|DIR|-...", short: "Jobs of Dkron",
			long:     "Write jobs for what GET /v1/jobs of Dkron answers.",
			examples: "  curl -s http://dkron:8080/v1/jobs | carillon import dkron --tz Europe/Berlin --out jobs/ -",
			takes:    withExt(".json"),
		},
		{
			format: importer.Rundeck, use: "rundeck FILE|DIR|-...", short: "Job definitions of Rundeck",
			long:     "Write jobs for job definitions of Rundeck, in YAML, JSON or XML.",
			examples: "  rd jobs list -p ops -f jobs.yaml -F yaml\n  carillon import rundeck --out jobs/ jobs.yaml",
			takes:    withExt(".yaml", ".yml", ".json", ".xml"),
		},
		{
			format: importer.XXLJob, use: "xxl-job FILE|DIR|-...", short: "Jobs of XXL-JOB",
			long:     "Write jobs for the rows of xxl_job_info, from a dump of SQL or as a list in JSON.",
			examples: "  mysqldump xxl_job xxl_job_info xxl_job_group | carillon import xxl-job --tz Asia/Shanghai --out jobs/ -",
			takes:    withExt(".sql", ".json"),
		},
	}
}

// withExt takes files by what their names end with.
func withExt(exts ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(exts, filepath.Ext(path)) }
}

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FORMAT FILE|DIR|-...", GroupID: groupJobs,
		Short: "Write job files for what another scheduler runs",
		Long: "Write job files for what another scheduler runs, to stdout or, with --out, one file for each\n" +
			"job. What was kept, approximated and not possible is told on stderr, line by line. Nothing\n" +
			"is applied. Who imports again gets the same. The exit code is 1 when an entry was left out.",
		Example: "  carillon import crontab --out jobs/ /etc/crontab /etc/cron.d\n  carillon apply -f jobs/",
		RunE:    needsFormat,
	}
	for _, k := range importKinds() {
		cmd.AddCommand((&importVerbs{call: a.call}).command(k))
	}
	return cmd
}

// needsFormat is run when the format is missing, or unknown.
func needsFormat(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownWord(cmd, "format to import", args[0])
	}
	var formats []string
	for _, c := range cmd.Commands() {
		formats = append(formats, c.Name())
	}
	return usagef("%s: say in what format the files are: %s", cmd.Name(), strings.Join(formats, ", "))
}

func (iv *importVerbs) command(k importKind) *cobra.Command {
	cmd := &cobra.Command{
		Use: k.use, Short: k.short, Long: k.long, Example: k.examples,
		Args: someOf("file, a directory, or - for stdin"),
		RunE: func(cmd *cobra.Command, args []string) error { return iv.run(k, args) },
	}
	cmd.Flags().StringVar(&iv.opts.Zone, "tz", "", "time `ZONE` of schedules that name none: that of the scheduler they come from (default UTC)")
	cmd.Flags().StringVar(&iv.opts.Target, "target", "", "`EXPRESSION` for the minions of jobs that name none (default: any one)")
	cmd.Flags().StringVar(&iv.opts.User, "user", "", "`ACCOUNT` of what names none (default: the minion's own)")
	if k.format == importer.Crontab {
		cmd.Flags().BoolVar(&iv.opts.System, "system", false, "there is a column with the account, as in /etc/crontab")
		cmd.Flags().StringVar(&iv.opts.MailServer, "mail-server", "", "`HOST:PORT` by which a notifier mails the failures of jobs to whom MAILTO names (default: nobody is told)")
	}
	cmd.Flags().StringVar(&iv.dir, "out", "", "`DIR` in which each job gets a file (default: all go to stdout)")
	cmd.Flags().BoolVar(&iv.overwrite, "overwrite", false, "with --out, also replace files that have been changed since")
	return cmd
}

func (iv *importVerbs) run(k importKind, args []string) error {
	if iv.output != formatTable && iv.output != formatYAML {
		return usagef("import writes YAML; -o %s is not possible", iv.output)
	}
	if iv.overwrite && iv.dir == "" {
		return usagef("--overwrite has an effect only with --out")
	}
	sources, err := iv.sources(k, args)
	if err != nil {
		return err
	}
	iv.opts.Namespace = iv.namespace
	got, err := importer.Import(k.format, sources, iv.opts)
	if err != nil {
		return usagef("%w", err)
	}
	if err := iv.write(got.Objects); err != nil {
		return err
	}
	for _, n := range got.Notes {
		iv.note("%s", n)
	}
	approximated, _ := got.Count(importer.Approximated)
	lost, leftOut := got.Count(importer.NotPossible)
	iv.note("jobs written: %d; entries left out: %d; told above: %d approximated, %d not possible", len(got.Objects), leftOut, approximated, lost)
	if leftOut > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// sources reads files, the files of directories, and stdin.
func (iv *importVerbs) sources(k importKind, args []string) ([]importer.Source, error) {
	var sources []importer.Source
	for _, arg := range args {
		if arg == "-" {
			body, err := io.ReadAll(io.LimitReader(iv.call.opts.Stdin, importer.MaxBytes+1))
			if err != nil {
				return nil, fmt.Errorf("read stdin: %w", err)
			}
			sources = append(sources, importer.Source{Name: "stdin", Data: body})
			continue
		}
		paths, err := importPaths(k, arg)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				return nil, unreadable(err)
			}
			body, err := io.ReadAll(io.LimitReader(f, importer.MaxBytes+1))
			if err := errors.Join(err, f.Close()); err != nil {
				return nil, unreadable(err)
			}
			sources = append(sources, importer.Source{Name: filepath.ToSlash(path), Data: body})
		}
	}
	return sources, nil
}

// importPaths returns a file itself, or the files in a directory that are of a format.
func importPaths(k importKind, arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return []string{filepath.Clean(arg)}, nil
	}
	var paths []string
	err = filepath.WalkDir(arg, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(arg, path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path) // units are links often
		if err == nil && info.Mode().IsRegular() && k.takes(filepath.ToSlash(below)) {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, unreadable(err)
	}
	if len(paths) == 0 {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: no file in this directory is one that `carillon import %s` reads", arg, k.format)}
	}
	return paths, nil
}

// write writes objects to stdout, or each to its file.
func (iv *importVerbs) write(objects []manifest.Object) error {
	if iv.dir == "" {
		text, err := manifest.Encode(objects...)
		if err != nil {
			return err
		}
		_, err = iv.out.Write(text)
		return err
	}
	files := map[string][]byte{}
	var changed []string
	for _, o := range objects {
		text, err := manifest.Encode(o)
		if err != nil {
			return err
		}
		path := filepath.Join(iv.dir, o.Metadata.Name+".yaml")
		old, err := os.ReadFile(path)
		switch {
		case err == nil && bytes.Equal(old, text):
			continue
		case err == nil && !iv.overwrite:
			changed = append(changed, path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return unreadable(err)
		}
		files[path] = text
	}
	if len(changed) > 0 {
		return &exitError{exitConflict, fmt.Errorf("%s: there already, and different; nothing is written: take another --out, or --overwrite", strings.Join(changed, ", "))}
	}
	if err := os.MkdirAll(iv.dir, 0o755); err != nil {
		return unreadable(err)
	}
	for _, o := range objects {
		path := filepath.Join(iv.dir, o.Metadata.Name+".yaml")
		text, ok := files[path]
		if !ok {
			fmt.Fprintf(iv.out, "%s unchanged\n", path)
			continue
		}
		if err := writeAnew(path, text); err != nil {
			return unreadable(err)
		}
		fmt.Fprintf(iv.out, "%s written\n", path)
	}
	return nil
}

// writeAnew puts a file in the place of what is there, be that a link. It is for its owner
// alone: what is imported may have passwords in it.
func writeAnew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".import-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
