package pghealth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is the body of application/health+json, draft-inadarei-api-health-check-06. The draft
// allows extra members; info and databases are ours.
type answer struct {
	Status status                   `json:"status"`
	Info   map[string]any           `json:"info,omitempty"`
	Checks map[string][]observation `json:"checks,omitempty"`

	Databases map[string]details `json:"databases,omitempty"` // only by Probe.Details
	service   string             // only by Probe.Details
}

const mediaType = "application/health+json"

// respond sends the answer: as a page to a browser, and without a body for HEAD. An error means
// that the connection to the client failed.
func (a answer) respond(w http.ResponseWriter, r *http.Request, code int) error {
	var body []byte
	var err error
	h := w.Header()
	if prefersPage(strings.Join(r.Header.Values("Accept"), ",")) {
		if body, err = a.page(time.Now()); err != nil {
			return err
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Referrer-Policy", "no-referrer")
	} else {
		if body, err = a.json(); err != nil {
			return err
		}
		h.Set("Content-Type", mediaType)
	}
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(body)
	return err
}

func (a answer) json() ([]byte, error) {
	body, err := json.Marshal(a)
	if err != nil { // only the application's Info can cause this
		a.Info = map[string]any{"error": "info cannot be written as JSON"}
		if body, err = json.Marshal(a); err != nil {
			return nil, err
		}
	}
	return append(body, '\n'), nil
}

// maxAccept is several times what browsers send. A longer header is not worth reading.
const maxAccept = 1024

// prefersPage reports whether an Accept header names HTML and no JSON, as browsers do. It ignores
// wildcards: curl and kube-probe send nothing else, and get JSON.
func prefersPage(accept string) bool {
	if len(accept) > maxAccept {
		return false
	}
	accept = strings.ToLower(accept)
	return strings.Contains(accept, "text/html") && !strings.Contains(accept, "json")
}
