"""Since which year the original has a name, and until when its manual had it: for the reference. No code.

Years of the earliest and latest public evidence (manuals since 2015, the editor's metadata since 2021); 2014 and 2015 mean
that year or before. Names that are not here are our own, or came with the original's plugins.
"""

from __future__ import annotations

_FIRST = {
    2014: """
        Blacklist DeliverAsSpam eval get_defined_functions minger_lookup ScanBWList ScanSARules ScanSPF WrapMessage
    """,
    2015: """
        Abort abs Accept AddHeader Allow AppendHeader array_filter array_keys array_map array_reduce array_reverse
        Authenticate base64_decode base64_encode Block ceil chr CopyMail count csv_explode CurrentConnections Defer
        Delete DelHeader Deliver DeliverWithDKIM Deny DirectDeliver DiscardMailDataChanges DKIMADSP DKIMSDID DKIMSign
        dns dns4 dns6 dnsbl dnsmx dnsptr dnstxt Done dovecot_lookup_auth executiontime explode file file_get_contents
        floor GenerateDSN GetAddressList GetAttachmentName GetAttachmentsByName GetAttachmentsByType GetAttachmentSize
        GetAttachmentType GetDSN GetDSNHeader GetHeader GetHeaders gethostname GetMailQueueMetric GetMetaData GetRoute
        globalview GuessAttachmentType hash hmac_md5 hmac_sha1 http implode in_array in_file in_network is_array
        is_number is_string is_subdomain json_decode json_encode ldap_bind ldap_search log mail md5 number pcre_match
        pcre_match_all pcre_quote pcre_replace pow PrependHeader Quarantine radius_authen rand range rate Reject
        RemoveAttachments Reschedule Retry round ScanCLAM ScanDLP ScanDMARC ScanKAV ScanRPD ScanRPDAV ScanSA serial
        SetDelayedDeliver SetDestination SetHeader SetHELO SetMailTransport SetMetaData SetProtocol SetRecipient
        SetSASL SetSender SetSourceIP SetTLS sha1 sleep smtp_lookup_auth smtp_lookup_rcpt spf sqrt stat str_repeat
        str_replace strftime string strlen strpos strrpos strtolower strtoupper substr syslog tacplus_authen
        tacplus_author time timelocal trim Try uptime uuid
    """,
    2016: """
        array_sort dnscname ident_lookup is_function MIME MIME->addHeader MIME->appendPart MIME->send MIME->setBody
        MIME->setBoundary MIME->setType MIME->toString Socket Socket->bind Socket->close Socket->connect Socket->errno
        Socket->recv Socket->send Socket->settimeout Socket->shutdown
    """,
    2017: """
        Bounce File File->close File->read File->seek File->tell File::read GetMailFile hmac_sha2 is_object
        MailMessage::File ord pack SetDSN SetRecipientParams SetSenderHELO SetSenderIP SetSenderParams sha2 Socket::AF
        strptime TLSSocket TLSSocket->errno TLSSocket->handshake TLSSocket->recv TLSSocket->send TLSSocket->shutdown
        unpack
    """,
    2018: """
        aes_decrypt aes_encrypt array_find array_includes array_join array_range boolean crypt csv_decode DKIMVerify
        dnsns ed25519_sign ed25519_verify GetExtensions GetTLS History idna_decode idna_encode inet_ntop inet_pton
        is_boolean LDAP length MIME->signDKIM Queue random_bytes random_number Reply rsa_sign rsa_verify SetXCLIENT
        str_find str_lower str_rfind str_slice str_split str_strip str_upper
    """,
    2019: """
        array_every csv_encode dns_query domain_includes envelope_address_parse envelope_localpart_escape
        EODMailMessage->queue FFI FFIFunction File->getPath File->readline File::String GetMailMessage
        header_addresslist_extract header_dkim_decode inet_includes inet_reverse MailMessage->queue MailMessage->reset
        MailMessage->restore MailMessage->send MailMessage->signDKIM MailMessage->snapshot MailMessage->toFile
        MailMessage->toString MailMessage->verifyDKIM MailMessage::String memory_add memory_dec memory_delete
        memory_exists memory_fetch memory_inc memory_store memory_update MIME->queue MIMEPart->addHeader
        MIMEPart->appendPart MIMEPart->delHeader MIMEPart->findByFileName MIMEPart->findByType MIMEPart->getBody
        MIMEPart->getFileName MIMEPart->getHeader MIMEPart->getHeaderNames MIMEPart->getHeaders MIMEPart->getID
        MIMEPart->getParts MIMEPart->getSize MIMEPart->getType MIMEPart->prependPart MIMEPart->remove
        MIMEPart->replacePart MIMEPart->setBody MIMEPart->setHeader Pass pkcs7_sign queue_policy queue_quota
        queue_suspend spf_query TLSSocket->getpeerx509 X509 X509->export X509->issuer X509->not_valid_after
        X509->not_valid_before X509->public_key X509->serial_number X509->subject X509->subject_alt_name X509->version
        X509::String X509CRL::String xtext_decode xtext_encode
    """,
    2020: """
        base32_decode base32_encode Default Iconv Iconv->close Iconv->convert Iconv->errno MailMessage->modifyContent
        Map Map->clear Map->delete Map->entries Map->get Map->has Map->set Map->size MIMEPart->getEpilogue
        MIMEPart->getPreamble MIMEPart->setEpilogue MIMEPart->setPreamble Set Set->add Set->clear Set->delete Set->has
        Set->size Set->values str_lstrip str_rstrip url_decode url_encode yaml_decode
    """,
    2021: """
        array_combine array_random array_shuffle array_unique base64url_decode base64url_encode domain_publicsuffix
        ed25519_privatekey Exception header_addresslist_compile is_ed25519_privatekey is_rsa_privatekey Map->merge
        MIME->setDate MIME->setDisposition MIME->setFileName MIME->toFile MIMEPart->getByID MIMEPart->getErrors
        MIMEPart->setDateLater mimeword_decode mimeword_encode pcre_compile queue_policy_delete rsa_privatekey
        str_chunk strpduration TLSSocket->toSocket url_parse uuidv5 X509->extensions X509->toResource X509->verify
        zlib_compress zlib_uncompress
    """,
    2025: """
        cms_decrypt cms_encrypt cms_sign cms_verify ec_privatekey is_ec_privatekey metrics_decrement metrics_increment
        metrics_set MIMEPart->getTypeParameter server_concurrency
    """,
    2026: """
        metrics_get MIMEPart->renameHeader X509CRL X509CRL->export X509CRL->extensions X509CRL->issuer
        X509CRL->last_update X509CRL->next_update X509CRL->revoked X509CRL->toResource X509CRL->version
    """,
}
_LAST = {
    2015: """
        Abort Blacklist DeliverAsSpam eval get_defined_functions minger_lookup ScanBWList ScanSARules ScanSPF
        WrapMessage
    """,
    2016: """
        CopyMail DeliverWithDKIM DirectDeliver dovecot_lookup_auth GetAttachmentName GetAttachmentsByName
        GetAttachmentsByType GetAttachmentSize GetAttachmentType GuessAttachmentType ident_lookup RemoveAttachments
    """,
    2017: """
        GenerateDSN
    """,
    2018: """
        count csv_explode DiscardMailDataChanges DKIMADSP dns4 dns6 dnscname dnsmx dnsns dnsptr dnstxt explode implode
        in_array radius_authen rand range ScanRPDAV strlen strpos strrpos strtolower strtoupper substr tacplus_authen
        tacplus_author trim
    """,
    2019: """
        DKIMSDID DKIMSign DKIMVerify dns GetAddressList GetMailQueueMetric in_network is_subdomain spf
    """,
    2020: """
        CurrentConnections SetDSN
    """,
    2021: """
        AddHeader Allow AppendHeader Authenticate Block DelHeader Deliver Deny dnsbl Done file file_get_contents
        GetDSN GetDSNHeader GetExtensions GetHeader GetHeaders GetMailFile GetMailMessage GetRoute GetTLS globalview
        History in_file LDAP ldap_bind ldap_search mail PrependHeader Quarantine rate Reschedule Retry ScanCLAM
        ScanDLP ScanDMARC ScanKAV ScanRPD ScanSA serial SetDelayedDeliver SetDestination SetHeader SetHELO
        SetMailTransport SetProtocol SetRecipient SetRecipientParams SetSASL SetSender SetSenderHELO SetSenderIP
        SetSenderParams SetSourceIP SetTLS SetXCLIENT stat
    """,
}

FIRST_YEAR: dict[str, int] = {name: year for year, names in _FIRST.items() for name in names.split()}
LAST_YEAR: dict[str, int] = {name: year for year, names in _LAST.items() for name in names.split()}


def generation(name: str) -> str | None:
    """Give the years of a name (a key of the table) in words; None for one of ours."""
    if name not in FIRST_YEAR:
        return None
    first, last = FIRST_YEAR[name], LAST_YEAR.get(name)
    return f"in the original since {first}" if last is None else f"in the original from {first} to {last}"
