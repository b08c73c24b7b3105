// XML signatures with the JDK's own javax.xml.crypto.dsig, secure validation on: the other side of
// the interoperability tests. Run as `java Xmldsig.java verify ROOT.pem TIME FILE...`
// or `java Xmldsig.java sign KEY.pem CHAIN.pem (C14N-URI IN OUT)...`.

import java.io.ByteArrayInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Key;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertPathValidator;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.List;
import java.util.Set;
import javax.xml.crypto.AlgorithmMethod;
import javax.xml.crypto.KeySelector;
import javax.xml.crypto.KeySelectorException;
import javax.xml.crypto.KeySelectorResult;
import javax.xml.crypto.XMLCryptoContext;
import javax.xml.crypto.dsig.CanonicalizationMethod;
import javax.xml.crypto.dsig.DigestMethod;
import javax.xml.crypto.dsig.Reference;
import javax.xml.crypto.dsig.SignedInfo;
import javax.xml.crypto.dsig.Transform;
import javax.xml.crypto.dsig.XMLSignature;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMSignContext;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.crypto.dsig.keyinfo.KeyInfo;
import javax.xml.crypto.dsig.keyinfo.KeyInfoFactory;
import javax.xml.crypto.dsig.keyinfo.X509Data;
import javax.xml.crypto.dsig.spec.C14NMethodParameterSpec;
import javax.xml.crypto.dsig.spec.TransformParameterSpec;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;

public class Xmldsig {
    static final XMLSignatureFactory FACTORY = XMLSignatureFactory.getInstance("DOM");

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("verify")) {
            X509Certificate root = (X509Certificate) certificates(arguments[1]).get(0);
            Date at = Date.from(Instant.parse(arguments[2]));
            for (int i = 3; i < arguments.length; i++) {
                verify(root, at, arguments[i]);
                System.out.println("OK " + arguments[i]);
            }
        } else {
            PrivateKey key = privateKey(arguments[1], certificates(arguments[2]).get(0));
            for (int i = 3; i < arguments.length; i += 3) {
                sign(key, certificates(arguments[2]), arguments[i], arguments[i + 1], arguments[i + 2]);
            }
        }
    }

    static void verify(X509Certificate root, Date at, String file) throws Exception {
        Document document = parse(file);
        NodeList found = document.getElementsByTagNameNS(XMLSignature.XMLNS, "Signature");
        if (found.getLength() != 1) {
            throw new Exception(file + ": " + found.getLength() + " signatures");
        }
        DOMValidateContext context = new DOMValidateContext(new PathToRoot(root, at), found.item(0));
        context.setProperty("org.jcp.xml.dsig.secureValidation", Boolean.TRUE);
        XMLSignature signature = FACTORY.unmarshalXMLSignature(context);
        if (!signature.validate(context)) {
            throw new Exception(file + ": the signature does not verify");
        }
    }

    /** The key of the first certificate, once its path ends in the root. */
    static class PathToRoot extends KeySelector {
        final X509Certificate root;
        final Date at;

        PathToRoot(X509Certificate root, Date at) {
            this.root = root;
            this.at = at;
        }

        @Override
        public KeySelectorResult select(KeyInfo info, Purpose purpose, AlgorithmMethod method, XMLCryptoContext context)
                throws KeySelectorException {
            List<X509Certificate> chain = new ArrayList<>();
            for (Object part : info.getContent()) {
                if (part instanceof X509Data) {
                    for (Object item : ((X509Data) part).getContent()) {
                        if (item instanceof X509Certificate) {
                            chain.add((X509Certificate) item);
                        }
                    }
                }
            }
            try {
                PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
                parameters.setRevocationEnabled(false);
                parameters.setDate(at);
                CertPathValidator.getInstance("PKIX")
                        .validate(CertificateFactory.getInstance("X.509").generateCertPath(chain), parameters);
            } catch (Exception cause) {
                throw new KeySelectorException(cause);
            }
            Key key = chain.get(0).getPublicKey();
            return () -> key;
        }
    }

    static void sign(PrivateKey key, List<Certificate> chain, String form, String in, String out) throws Exception {
        Document document = parse(in);
        Reference reference = FACTORY.newReference(
                "",
                FACTORY.newDigestMethod(DigestMethod.SHA256, null),
                List.of(
                        FACTORY.newTransform(Transform.ENVELOPED, (TransformParameterSpec) null),
                        FACTORY.newTransform(form, (TransformParameterSpec) null)),
                null,
                null);
        String method = key.getAlgorithm().equals("RSA")
                ? "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
                : "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
        SignedInfo info = FACTORY.newSignedInfo(
                FACTORY.newCanonicalizationMethod(form, (C14NMethodParameterSpec) null),
                FACTORY.newSignatureMethod(method, null),
                List.of(reference));
        KeyInfoFactory keys = FACTORY.getKeyInfoFactory();
        KeyInfo keyInfo = keys.newKeyInfo(List.of(keys.newX509Data(chain)));
        FACTORY.newXMLSignature(info, keyInfo).sign(new DOMSignContext(key, document.getDocumentElement()));
        try (FileOutputStream stream = new FileOutputStream(out)) {
            TransformerFactory.newInstance().newTransformer().transform(new DOMSource(document), new StreamResult(stream));
        }
    }

    static Document parse(String file) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        return factory.newDocumentBuilder().parse(Path.of(file).toFile());
    }

    static List<Certificate> certificates(String file) throws Exception {
        try (InputStream stream = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))) {
            Collection<? extends Certificate> all = CertificateFactory.getInstance("X.509").generateCertificates(stream);
            return new ArrayList<>(all);
        }
    }

    static PrivateKey privateKey(String file, Certificate leaf) throws Exception {
        String pem = Files.readString(Path.of(file), StandardCharsets.US_ASCII);
        byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
        return KeyFactory.getInstance(leaf.getPublicKey().getAlgorithm()).generatePrivate(new PKCS8EncodedKeySpec(der));
    }
}
