package web

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
)

//go:embed ui novnc/core novnc/vendor novnc/docs novnc/LICENSE.txt novnc/AUTHORS
var embedded embed.FS

// types is ours because the system's table differs between machines, and a
// module served under a wrong type is not run.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

type file struct {
	mime string
	body []byte
}

// loadFiles returns every embedded file by its URL path.
func loadFiles() (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(embedded, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(p)
		if err != nil {
			return err
		}
		mime, ok := types[path.Ext(p)]
		if !ok {
			mime = "text/plain; charset=utf-8"
		}
		files["/"+p] = file{mime, body}
		return nil
	})
	if err != nil {
		return nil, err
	}
	index, ok := files["/ui/index.html"]
	if !ok {
		return nil, fmt.Errorf("ui/index.html: %w", fs.ErrNotExist)
	}
	files["/"] = index
	return files, nil
}

// serveFile answers from the map and nothing else: no directory, no range, no
// path of the file system. The files hold no secret, so no login is asked.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.mime)
	w.Write(f.body)
}
