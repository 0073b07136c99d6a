// Never cached: it is there to see what has changed. What it finds stands in the hash of the tasks after it; its record
// does not go to the report, which would be made again each time.
process LIST_FILES {
    tag "${role}"
    label 'process_single'
    cache false

    input:
    tuple val(role), path(source, stageAs: 'source/*')

    output:
    tuple val(role), path("${role}.files.txt"), emit: listing
    path '*.provenance.json', emit: provenance

    script:
    """
    list_files.py --source ${source} --role ${role} --listing ${role}.files.txt
    """

    stub:
    """
    stub.sh ${role}.files.txt list_files.${role}.provenance.json
    """
}
