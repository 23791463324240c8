package jsonapi

import (
	"mime"
	"strconv"
	"strings"
)

// CheckContentType refuses a request body of another media type than JSON:API's, or plain JSON.
// JSON:API allows the parameters ext and profile; no extension is supported, any profile is ignored.
func CheckContentType(header string) error {
	unsupported := NewError(415, CodeMediaType,
		"the body must be %s (or application/json), without extensions or other parameters", MediaType).AtHeader("Content-Type")
	mediaType, parameters, err := mime.ParseMediaType(header)
	switch {
	case err != nil:
		return unsupported
	case mediaType == "application/json":
		if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			return unsupported
		}
		return nil
	case mediaType != MediaType || !plain(parameters):
		return unsupported
	}
	return nil
}

// CheckAccept refuses a request that accepts nothing that the API can answer. Where the header names
// JSON:API's own media type, at least one instance must have no extensions or unknown parameters;
// JSON:API demands that even next to a wildcard. Otherwise plain JSON or a wildcard will do.
func CheckAccept(header string) error {
	if strings.TrimSpace(header) == "" {
		return nil
	}
	named, acceptable := false, false
	for _, part := range split(header) {
		mediaType, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		wanted := true
		if q, ok := parameters["q"]; ok {
			weight, err := strconv.ParseFloat(q, 64)
			wanted = err != nil || weight != 0
			delete(parameters, "q")
		}
		switch mediaType {
		case MediaType:
			if !named {
				named, acceptable = true, false // it counts more than any wildcard before it
			}
			acceptable = acceptable || wanted && plain(parameters)
		case "*/*", "application/*", "application/json":
			acceptable = acceptable || wanted && !named
		}
	}
	if acceptable {
		return nil
	}
	return NewError(406, CodeNotAcceptable, "the answer is %s, without extensions or other parameters", MediaType).AtHeader("Accept")
}

// split splits a header at its commas, but not within quoted strings.
func split(header string) []string {
	var parts []string
	quoted, start := false, 0
	for i := 0; i < len(header); i++ {
		switch {
		case quoted && header[i] == '\\':
			i++
		case header[i] == '"':
			quoted = !quoted
		case header[i] == ',' && !quoted:
			parts = append(parts, header[start:i])
			start = i + 1
		}
	}
	return append(parts, header[start:])
}

func plain(parameters map[string]string) bool {
	for name := range parameters {
		if name != "profile" {
			return false
		}
	}
	return true
}
