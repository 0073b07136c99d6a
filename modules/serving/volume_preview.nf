process VOLUME_PREVIEW {
    tag "${subject}"
    label 'process_single'

    input:
    val subject
    tuple path(volume), path(volume_manifest)
    path plan
    val flags

    output:
    path "published/stack/*.png", emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    volume_preview.py ${flags} --volume ${volume} --plan ${plan} --name ${subject} --preview published/stack/${subject}.png --annotated published/stack/${subject}_annotated.png
    """

    stub:
    """
    stub.sh published/stack/${subject}.png published/stack/${subject}_annotated.png volume_preview.${subject}.provenance.json
    """
}
