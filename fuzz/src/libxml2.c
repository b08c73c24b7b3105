/* libxml2's canonical form of a part of a document: the element number `apex` (in document order, the root
   is 0; -1: the whole document) without the element number `omit` (-1: nothing). */

#include <libxml/c14n.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlerror.h>
#include <string.h>

struct part {
    xmlNodePtr apex, omit;
};

static void quiet(void *context, const char *message, ...) {
    (void)context;
    (void)message;
}

void *peer_parse(const char *text, int length) {
    xmlSetGenericErrorFunc(NULL, quiet);
    return xmlReadMemory(text, length, NULL, NULL,
                         XML_PARSE_NOENT | XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
}

void peer_free(void *document) { xmlFreeDoc(document); }

static xmlNodePtr after(xmlNodePtr node) {
    if (node->type == XML_ELEMENT_NODE && node->children)
        return node->children;
    while (node && !node->next)
        node = node->parent && node->parent->type == XML_ELEMENT_NODE ? node->parent : NULL;
    return node ? node->next : NULL;
}

static xmlNodePtr element(xmlDocPtr document, int number) {
    if (number < 0)
        return NULL;
    for (xmlNodePtr node = xmlDocGetRootElement(document); node; node = after(node))
        if (node->type == XML_ELEMENT_NODE && number-- == 0)
            return node;
    return NULL;
}

static int visible(void *data, xmlNodePtr node, xmlNodePtr parent) {
    const struct part *part = data;
    int inside = !part->apex;
    if (!node || node->type == XML_NAMESPACE_DECL || node->type == XML_ATTRIBUTE_NODE)
        node = parent;
    for (; node; node = node->parent) {
        if (node == part->omit)
            return 0;
        inside |= node == part->apex;
    }
    return inside;
}

/* The octets, of which `length` is set, to be freed by peer_free_octets; NULL where libxml2 refuses. */
unsigned char *peer_canonical(void *document, int exclusive, int apex, int omit, int *length) {
    struct part part = {element(document, apex), element(document, omit)};
    xmlOutputBufferPtr buffer = xmlAllocOutputBuffer(NULL);
    unsigned char *octets = NULL;
    int whole = apex < 0 && omit < 0;
    int done = xmlC14NExecute(document, whole ? NULL : visible, &part,
                              exclusive ? XML_C14N_EXCLUSIVE_1_0 : XML_C14N_1_0, NULL, 0, buffer);
    if (done >= 0) {
        *length = (int)xmlOutputBufferGetSize(buffer);
        octets = xmlMalloc(*length + 1);
        if (octets)
            memcpy(octets, xmlOutputBufferGetContent(buffer), *length);
    }
    xmlOutputBufferClose(buffer);
    return octets;
}

void peer_free_octets(unsigned char *octets) { xmlFree(octets); }
